"""The all-reduce is timed by two processes, recorded, and read again."""

import numpy as np
import pytest

from course_utils.experiments.all_reduce import KIND, main, messages_of
from course_utils.measure import load, record
from course_utils.measure.collectives import fit_link


def test_two_processes_time_messages_and_record_them(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "all_reduce.jsonl"
    words = ["--sizes", "1024", "4194304", "--rounds", "4", "--device", "cpu", "--out", str(out)]
    assert main(words) == 0
    said = capsys.readouterr().out
    records = load(out)
    assert [one.config["nbytes"] for one in records] == [1024, 4194304]
    for one in records:
        assert (one.kind, one.unit, one.n) == (KIND, "s", 4)
        assert one.value == pytest.approx(np.median(one.config["samples_s"]))
        assert one.low <= one.value <= one.high
        assert (one.config["world_size"], one.config["backend"], one.manifest["devices"]) == (2, "gloo", 2)
        assert [rank["device"] for rank in one.config["ranks"]] == ["cpu", "cpu"]
    messages = messages_of(records)
    assert messages.n == 2
    assert messages.seconds == pytest.approx({one.config["nbytes"]: one.value for one in records})
    assert str(messages) in said
    assert "records in all_reduce.jsonl" in said


def test_of_several_measurements_the_latest_is_read(tmp_path):
    path = tmp_path / "records.jsonl"
    for started, seconds in ((1.0, 0.5), (2.0, 0.25)):
        for nbytes in (8, 80):
            config = {"nbytes": nbytes, "started": started, "world_size": 3, "samples_s": [nbytes * seconds]}
            record(KIND, "made", config, nbytes * seconds, "s", path=path, manifest={})
    messages = messages_of(load(path))
    assert messages.seconds == {8: 2.0, 80: 20.0}
    assert fit_link(messages.seconds, messages.n).all_reduce_s(8, 3) == pytest.approx(2.0)
    with pytest.raises(ValueError, match="no record of kind 'all-reduce' among 0"):
        messages_of([])


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--sizes", "8"], "--sizes must be two or more"),
        (["--sizes", "8", "2"], "of 4 bytes at least"),
        (["--rounds", "0"], "--rounds positive"),
        (["--processes", "1"], "--processes is 1: a process alone exchanges nothing"),
    ],
)
def test_what_measures_nothing_is_refused_before_anything_starts(words, complaint):
    with pytest.raises(ValueError, match=complaint):
        main(words)
