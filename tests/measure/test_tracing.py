"""A trace is a readable Chrome trace with its steps and its manifest, written whole or not at all."""

import gzip
import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.autograd import DeviceType

from course_utils.measure import tracing
from course_utils.measure.tracing import _rows, trace


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


def test_a_gpus_kernels_are_not_listed_beside_the_operators_that_launch_them():
    def event(key, device_type, cpu_us, device_us):
        return SimpleNamespace(
            key=key, count=2, device_type=device_type, self_cpu_time_total=cpu_us, self_device_time_total=device_us
        )

    events = [
        event("aten::mm", DeviceType.CPU, 10.0, 300.0),
        event("sm90_gemm_kernel", DeviceType.CUDA, 0.0, 300.0),
        event("step 0", DeviceType.CUDA, 0.0, 400.0),
        event("cudaLaunchKernel", DeviceType.CPU, 40.0, 0.0),
    ]
    rows = _rows(SimpleNamespace(key_averages=lambda: events))
    assert [(row.name, row.cpu_s, row.device_s) for row in rows] == [
        ("aten::mm", pytest.approx(10e-6), pytest.approx(300e-6)),
        ("cudaLaunchKernel", pytest.approx(40e-6), 0.0),
    ]
