"""Experiments that are stopped and called again: no row twice, no row lost."""

from pathlib import Path

import pytest

from course_utils.experiments import row_files
from course_utils.experiments.row_files import Reading, Row, alike, fill, find, inside, judged_alike
from course_utils.measure import load, record


def row(name, measured, fails=False, kinds=("FD", "KD")):
    def measure():
        measured.append(name)
        if fails:
            raise KeyboardInterrupt
        return [Reading(kind, 1.5, 1.0, 2.0, 10, more={"seconds": 3.0}) for kind in kinds]

    return Row(name, {"name": name, "n": 10}, ("FD", "KD"), measure, f"make {name}")


def test_a_killed_run_leaves_whole_rows_and_goes_on(tmp_path):
    path, measured = tmp_path / "deep" / "rows.jsonl", []
    with pytest.raises(KeyboardInterrupt):
        fill(path, [row("a", measured), row("b", measured, fails=True), row("c", measured)], "rows")
    assert [(one.name, one.kind) for one in load(path)] == [("a", "FD"), ("a", "KD")]
    found = fill(path, [row(name, measured) for name in "abc"], "rows")
    assert measured == ["a", "b", "b", "c"]
    assert [one.name for one in found] == ["a", "a", "b", "b", "c", "c"] == [one.name for one in load(path)]
    one = load(path)[-1]
    assert (one.kind, one.value, one.low, one.high, one.n) == ("KD", 1.5, 1.0, 2.0, 10)
    assert one.config == {"name": "c", "n": 10, "command": "make c", "seconds": 3.0}
    assert fill(path, [row("b", measured)], "rows") == found[2:4]
    assert len(measured) == 4


def test_a_row_that_was_half_written_gets_its_other_half_alone(tmp_path):
    path, measured = tmp_path / "rows.jsonl", []
    fill(path, [row("a", measured), row("b", measured)], "rows")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]) + lines[3][: len(lines[3]) // 2])  # killed while writing b's KD
    with pytest.warns(UserWarning, match="half a record"):
        fill(path, [row("a", measured), row("b", measured)], "rows")
    assert measured == ["a", "b", "b"]
    assert [(one.name, one.kind) for one in load(path)] == [("a", "FD"), ("a", "KD"), ("b", "FD"), ("b", "KD")]


def test_a_record_is_found_by_all_that_is_asked_for_and_by_nothing_less():
    records = [record("FD", "a", {"n": 10, "x": x}, value, "", manifest={"a": 1}) for x, value in ((1, 5), (1, 6))]
    assert find(records, "FD", {"n": 10, "x": 1}).value == 6, "the latest"
    assert find(records, "FD", {"n": 10}).value == 6
    assert find(records, "KD", {"n": 10}) is None
    assert find(records, "FD", {"n": 10, "x": 2}) is None
    assert find(records, "FD", {"n": 10, "y": None}) is None, "what is not said is not None"


def test_a_record_names_the_device_that_worked_and_the_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(row_files, "manifest", lambda **told: told)
    drawn = Row("a", {"seed": 7}, ("FD",), lambda: [Reading("FD", 1.0, None, None, 10)], "make a")
    (one,) = fill(tmp_path / "a.jsonl", [drawn], "rows", device="cuda:1")
    assert one.manifest == {"device": "cuda:1", "seed": 7}


def judged(kind, value, **told):
    return record(kind, "a", told, value, "", manifest={"a": 1})


def test_the_latest_of_a_kind_says_by_whom_all_of_it_is_judged():
    old = [judged("FD", 1, sha256="old"), judged("loss", 2, sha256="old")]
    new = [judged("FD", 3, sha256="new", x=1), judged("FD", 4, sha256="new", x=2)]
    assert judged_alike([*old, *new]) == [old[1], *new]
    assert judged_alike([new[0], *old]) == old
    assert judged_alike([*new, judged("FD", 5, sha256="new", reference_sha256="other")])[0].value == 5
    assert judged_alike([]) == alike([], ["x"]) == []


def test_records_are_alike_in_what_is_asked_for():
    one, two, other = judged("FD", 1, n=10, x=1), judged("KD", 2, n=10, x=2), judged("FD", 3, n=20, x=2)
    assert alike([one, other, two], ["n"]) == [one, two]
    assert alike([one, two, other], ["n", "x"]) == [other]
    assert alike([one, judged("FD", 4, n=10)], ["n", "x"])[0].value == 4, "what is not said is not 1"


def test_a_row_that_gives_something_else_is_refused_and_leaves_nothing(tmp_path):
    path = tmp_path / "rows.jsonl"
    with pytest.raises(ValueError, match="row 'a' gave FD, loss, wanted FD, KD"):
        fill(path, [row("a", [], kinds=("FD", "loss"))], "rows")
    assert not path.exists()


def test_paths_are_written_down_without_the_folders_of_a_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert inside(tmp_path / "results" / "a.jsonl") == "results/a.jsonl"
    assert inside("results/a.jsonl") == "results/a.jsonl"
    assert inside(Path("/elsewhere/on/a/machine/a.jsonl")) == "a.jsonl"
