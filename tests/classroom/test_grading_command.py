"""Grading end to end: planted submissions, the grader killed half-way, and every paper it writes."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from grading_lesson import triangles

from course_utils.classroom.grading.plant_kinds import KINDS as ALL_KINDS
from course_utils.classroom.grading.planting import BROKEN, plant, plants
from course_utils.classroom.grading.sandbox import find_sandbox

# fmt: off
KINDS = [
    "right", "merged", "noisy", "half-right", "syntax-error", "segfault", "endless", "sys-exit", "exit", "markdown",
    "empty", "equal-to-all", "patched", "transformed", "reading", "tracing", "guessing", "stand-in", "killed-parent",
    "not-json", "leads-out", "link",
]
# fmt: on
CONFINED = find_sandbox().bwrap is not None


def command(root, *more):
    options = ["-o", root / "grades", "--root", root / "clone", "--cell-limit", "6", "--memory-limit", "1", *more]
    return [sys.executable, "-m", "course_utils", "grade", root / "handed in", *options]


def planted_here(root):
    exam = triangles(root / "clone")
    chosen = [one for one in plants([exam], len(ALL_KINDS) + len(BROKEN)) if one.kind in KINDS]
    for one in chosen:
        plant(one, root / "handed in")
    return chosen


def results(root):
    return sorted((root / "grades/work/results").glob("*/*.json"))


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """Planted submissions, graded by a grader that was killed after three of them and started again."""
    root = tmp_path_factory.mktemp("grading")
    chosen = planted_here(root)
    (root / "handed in/list.txt").write_text("no submission")
    first = subprocess.Popen(command(root), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while len(results(root)) < 3 and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    family = psutil.Process(first.pid).children(recursive=True)
    first.send_signal(signal.SIGKILL)
    first.wait()
    _, alive = psutil.wait_procs(family, timeout=20)
    before = {path: path.stat().st_mtime_ns for path in results(root)}
    secret = (root / "grades/work/secret").read_text()
    again = subprocess.run(command(root), capture_output=True, text=True, timeout=280, check=False)
    return {"root": root, "plants": chosen, "before": before, "secret": secret, "again": again, "alive": alive}


def rows(root):
    with (root / "grades/gradebook.csv").open(newline="", encoding="utf-8-sig") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def test_each_gets_exactly_its_points(graded):
    assert graded["again"].returncode == 0, graded["again"].stderr
    found = rows(graded["root"])
    assert len(found) == len(graded["plants"]) == len(KINDS)
    for one in graded["plants"]:
        if one.kind == "killed-parent" and not CONFINED:
            continue  # unconfined it ends its own grading, and is flagged for that
        row = found[one.student]
        got = {key: float(row[key] or 0) for key in one.points}
        assert got == one.points, one.kind
        assert float(row["total"]) == one.total
        assert row["out_of"] == "4"
        assert one.flag in row["flags"], one.kind


def test_a_killed_grader_leaves_no_process_and_goes_on_where_it_was(graded):
    assert graded["alive"] == []
    assert 3 <= len(graded["before"]) < len(results(graded["root"]))
    assert all(path.stat().st_mtime_ns == when for path, when in graded["before"].items())
    assert (graded["root"] / "grades/work/secret").read_text() == graded["secret"]
    left = [path for path in graded["root"].rglob("*.tmp") if "work" not in path.parts]
    assert left == []


def test_feedback_tells_in_plain_words_and_nothing_hidden(graded):
    pages = {path.stem.split("-", 1)[1]: path.read_text() for path in (graded["root"] / "grades/feedback").iterdir()}
    assert len(pages) == len(KINDS)
    for kind, words in {
        "right": "4 of 4 points",
        "half-right": "3 of 4 points",
        "syntax-error": "raised SyntaxError",
        "segfault": "ended the whole Python process",
        "endless": "timed out",
        "markdown": "turn it into a code cell",
        "empty": "Nothing is answered in it.",
        "sys-exit": "raised SystemExit",
        "not-json": "not JSON",
        "link": "a link or a device",
        "guessing": "not yet: 3 and 4: expected another number",
    }.items():
        assert words in pages[kind], kind
    hidden = re.findall(r"assert_like|drawn_leg|covered|_told_|Traceback|squared|doubled|1009", "".join(pages.values()))
    assert hidden == []
    assert graded["secret"].strip() not in "".join(pages.values())
    assert not re.search(r"(?:src|href)=", "".join(pages.values()))


def test_review_says_what_to_look_at(graded):
    said = (graded["root"] / "grades/review.txt").read_text()
    assert "list.txt: ignored" in said
    assert re.search(r"\d+-tracing: 07\.area: settrace", said)
    assert re.search(r"\d+-merged: 07\.area: it stood in a cell without its key", said)
    assert (graded["root"] / "grades/points.png").read_bytes().startswith(b"\x89PNG")
    assert ("UNCONFINED" in said) is not CONFINED


def test_only_what_changed_is_graded_again(graded):
    root, before = graded["root"], {path: path.stat().st_mtime_ns for path in results(graded["root"])}
    path = next((root / "handed in").glob("*-empty*/my/*.ipynb"), None)
    if path is None:  # packed as an archive: a folder takes its place
        next((root / "handed in").glob("*-empty.*")).unlink()
    one = next(one for one in graded["plants"] if one.kind == "empty")
    right = next(one for one in graded["plants"] if one.kind == "right")
    plant(type(one)(one.student, "right", one.exam, "folder", right.points, ""), root / "handed in")
    done = subprocess.run(command(root), capture_output=True, text=True, timeout=200, check=True)
    changed = [path for path in results(root) if path.stat().st_mtime_ns != before.get(path)]
    assert [path.parent.name for path in changed] == [one.student]
    assert "1 of them now" in done.stdout
    assert rows(root)[one.student]["total"] == "4"


def test_interrupted_it_says_so_and_keeps_what_is_done(tmp_path):
    exam = triangles(tmp_path / "clone")
    for one in plants([exam], 2):
        plant(one, tmp_path / "handed in")
    process = subprocess.Popen(command(tmp_path), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "grades/work/secret").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "goes on where it stopped" in said


def test_mistakes_get_a_sentence(tmp_path):
    triangles(tmp_path / "clone")
    (tmp_path / "handed in/ada").mkdir(parents=True)
    for more, why in (
        (["--notebooks", "99"], "no notebook is called"),
        (["--root", str(tmp_path)], "sources with sol"),
    ):
        done = subprocess.run(command(tmp_path, *more), capture_output=True, text=True, timeout=100, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert why in done.stderr


@pytest.mark.skipif(not Path("/usr/bin/true").exists() or os.name != "posix", reason="a stand-in for bwrap is a script")
def test_without_bubblewrap_it_warns_loudly_and_grades(tmp_path):
    exam = triangles(tmp_path / "clone")
    for one in plants([exam], 1):
        plant(one, tmp_path / "handed in")
    stand_in = tmp_path / "bin/bwrap"
    stand_in.parent.mkdir()
    stand_in.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    stand_in.chmod(0o755)
    path = f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command(tmp_path), capture_output=True, text=True, timeout=200, check=True, env=os.environ | {"PATH": path}
    )
    assert "UNCONFINED" in done.stderr
    assert "No permissions to create new namespace" in done.stderr
    assert "UNCONFINED" in (tmp_path / "grades/review.txt").read_text()
    assert [row["total"] for row in rows(tmp_path).values()] == ["4"]
