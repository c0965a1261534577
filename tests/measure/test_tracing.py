"""A trace is a readable Chrome trace with its steps and its manifest, written whole or not at all."""

import gzip
import json

import pytest
import torch
from torch import nn

from course_utils.measure import tracing
from course_utils.measure.tracing import trace


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU())


def test_the_file_has_the_steps_the_operators_and_the_manifest(model, tmp_path):
    path = tmp_path / "new" / "run.json"
    found = trace(model, torch.ones(2, 4), path=path, steps=2)
    content = json.loads(path.read_text())
    names = [event.get("name") for event in content["traceEvents"]]
    assert {"step 0", "step 1"} < set(names)
    assert names.count("aten::addmm") == 2
    assert content["manifest"]["versions"]["torch"]
    assert {row.name: row.calls for row in found.rows}["aten::addmm"] == 2
    assert [file.name for file in path.parent.iterdir()] == ["run.json"]
    assert "aten::addmm" in str(found)


def test_a_gz_name_is_compressed(model, tmp_path):
    path = tmp_path / "run.json.gz"
    trace(model, torch.ones(2, 4), path=str(path), steps=1)
    assert json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]


def test_an_existing_file_is_kept_unless_told_otherwise(model, tmp_path):
    path = tmp_path / "run.json"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        trace(model, torch.ones(2, 4), path=path)
    assert path.read_text() == "mine"
    trace(model, torch.ones(2, 4), path=path, steps=1, overwrite=True)
    assert path.read_text() != "mine"


def test_a_failing_export_leaves_nothing(model, tmp_path, monkeypatch):
    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(tracing.Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        trace(model, torch.ones(2, 4), path=tmp_path / "run.json", steps=1)
    assert list(tmp_path.iterdir()) == []


def test_errors(model, tmp_path):
    with pytest.raises(ValueError, match="steps is 0"):
        trace(model, torch.ones(2, 4), path=tmp_path / "run.json", steps=0)
    with torch.profiler.profile(), pytest.raises(RuntimeError, match="trace refuses"):
        trace(model, torch.ones(2, 4), path=tmp_path / "run.json")
