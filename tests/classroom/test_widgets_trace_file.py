"""Traces read from files and from what is in them: whole ones, recorded ones, broken ones."""

import gzip
import json

import numpy as np
import pytest
import torch
from torch import nn

from course_utils.classroom.widgets import TraceExplorer
from course_utils.classroom.widgets.synthetic_trace import SHIPPED, synthetic_trace
from course_utils.classroom.widgets.trace_file import read_trace
from course_utils.measure import trace

US = 1e-6


def operator(name, ts, dur):
    return {"ph": "X", "cat": "cpu_op", "name": name, "pid": 1, "tid": 1, "ts": ts, "dur": dur}


def test_begin_and_end_are_a_complete_event_and_times_may_be_text():
    pair = [{"ph": "B", "name": "a", "ts": "5", "pid": 1, "tid": 1}, {"ph": "E", "ts": 9, "pid": 1, "tid": 1}]
    line = read_trace([operator("b", 0, 1), *pair])
    assert dict(zip(line.names, (line.length_s / US).round(6), strict=True)) == {"b": 1, "a": 4}


def test_a_recorded_trace_holds_what_the_profiler_counted(tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
    told = trace(model, torch.randn(1, 3, 16, 16), path=tmp_path / "own.json.gz", steps=2)
    line = read_trace(told)
    calls = {row.name: row.calls for row in told.rows}
    assert np.sum(line.name == line.names.index("aten::conv2d")) == calls["aten::conv2d"] == 4
    assert [place[0] for place in TraceExplorer(told.path).places] == ["step 0", "step 1"]
    assert torch.__version__.startswith(line.manifest["versions"]["torch"])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("absent.json", None, "is not there"),
        ("text.json", b"no trace at all", "is no JSON"),
        ("cut.json", b'{"traceEvents": [{"ph": "X", ', "is no JSON"),
        ("cut.json.gz", gzip.compress(b"[" + b" " * 9999 + b"]", mtime=0)[:40], "damaged or cut off"),
        ("bytes.json", bytes(range(256)), "is no JSON"),
        ("number.json", b"42", "no list of events"),
        ("other.json", b'{"cells": []}', "no list of events"),
        ("strings.json", b'["a", "b"]', "no list of events"),
        ("empty.json", b'{"traceEvents": []}', "no event with a start and a length"),
        ("instant.json", b'[{"ph": "i", "ts": 1}]', "no event with a start and a length"),
        ("words.json", b'[{"ph": "X", "ts": "soon", "dur": 1}]', "the start of event 0 is 'soon'"),
        ("nan.json", b'[{"ph": "X", "ts": 1, "dur": NaN}]', "the length of event 0 is 'nan'"),
    ],
)
def test_a_broken_file_gets_one_sentence(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said) as caught:
        TraceExplorer(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_shipped_trace_is_the_one_its_code_makes_and_says_that_it_is_made_up():
    assert json.loads(gzip.decompress(SHIPPED.read_bytes())) == synthetic_trace()
    explorer = TraceExplorer()
    assert "Synthetic" in explorer.title
    assert "Synthetic" in explorer.figure().axes[0].get_title(loc="left")
    assert "Launch-bound" in repr(explorer)


@pytest.mark.parametrize("odd", [{"args": ["a", "list"]}, {"args": None}, {"name": None}, {"pid": "Spans", "tid": ""}])
def test_what_a_trace_may_leave_out_or_spell_otherwise(odd):
    explorer = TraceExplorer([operator("a", 0, 1), operator("b", 2, 0) | odd])
    explorer.chosen = 1
    assert explorer.detail["length"] in ("0 s", "1.00 µs")


def test_a_trace_of_a_single_instant_can_be_moved():
    explorer = TraceExplorer([operator("a", 5, 0)])
    for action in ("in", "out", "left", "right", "all"):
        explorer.act(action)
    assert explorer.window == [0.0, 1e-9]
