"""The kernel of a submission: what it can see and reach, what it may take, and that nothing of it is left."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psutil
import pytest

from course_utils.classroom.authoring.folders import find_folders
from course_utils.classroom.grading.exams import Cell
from course_utils.classroom.grading.limits import Limits
from course_utils.classroom.grading.running import remove_left_overs, run_cells
from course_utils.classroom.grading.sandbox import Sandbox, find_sandbox

FOUND = find_sandbox()
confined = pytest.mark.skipif(FOUND.bwrap is None, reason=f"no confinement here: {FOUND.why}")
LIMITS = Limits(cell_s=15, notebook_s=120, memory_bytes=2**30)


def run(*texts, sandbox=FOUND, limits=LIMITS, roles=()):
    cells = [Cell(f"c{place}", text, "answer", "07.a") for place, text in enumerate(texts)]
    for place, role in enumerate(roles):
        cells[place] = Cell(f"c{place}", texts[place], role, None if role == "lesson" else "07.a")
    return run_cells(cells, sandbox=sandbox, limits=limits)


@confined
def test_a_confined_kernel_sees_the_kit_and_nothing_of_the_instructor():
    probe = """
import glob, os, pathlib, socket
import course_utils
root = pathlib.Path(course_utils.__file__).parents[1]
print(sorted(path.name for path in root.iterdir() if not path.name.startswith(".")))
print(os.getuid(), os.getppid() < 10, [name for name in os.environ if name.startswith(("COURSE_GRADING", "PYTEST"))])
print(len(glob.glob("/proc/[0-9]*")) < 6, glob.glob("/tmp/grade-*/*.json*"), os.path.exists("/root/.ssh"))
try:
    socket.create_connection(("192.0.2.1", 80), timeout=3)
except OSError as error:
    print(error.strerror)
for place in (root / "x", pathlib.Path("/usr/x"), pathlib.Path("/x")):
    try:
        place.write_text("x")
    except OSError as error:
        print(type(error).__name__, error.strerror)
pathlib.Path("own.txt").write_text("x")
"""
    ((_, outcome),) = run(probe).ran
    assert outcome.error is None, outcome.message
    names, who, processes, network, *writes = outcome.stdout.splitlines()
    here = {path.name for path in find_folders().root.iterdir()}
    assert set(eval(names)) == here & {"course_utils", "data", "notebooks", "results", "slurm"}
    assert who == "65534 True []"
    assert processes == "True [] False"
    assert network == "Network is unreachable"
    assert writes == ["OSError Read-only file system"] * 3


@confined
def test_a_confined_kernel_cannot_reach_the_grader():
    probe = """
import os, signal
for pid in (1, os.getppid(), -1):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError as error:
        print(type(error).__name__)
"""
    said = run(probe, "print('alive')")
    assert said.trouble is None
    assert (said.lived and said.ran[1][1].stdout == "alive\n") or not said.ran[0][1].alive


@pytest.mark.parametrize(
    "sandbox", [pytest.param(FOUND, marks=confined, id="confined"), pytest.param(Sandbox(None), id="bare")]
)
def test_errors_timeouts_and_later_cells(sandbox):
    limits = Limits(cell_s=3, notebook_s=120)
    said = run("import time", "print(1)\n1 / 0", "while True: pass", "print(3)", sandbox=sandbox, limits=limits)
    told = [outcome for _, outcome in said.ran]
    assert said.lived
    assert [(one.error, one.timed_out) for one in told[:2]] == [(None, False), ("ZeroDivisionError", False)]
    assert told[1].stdout == "1\n"
    assert told[2].timed_out
    assert told[3].stdout == "3\n"


def test_further_hidden_checks_of_an_endless_answer_are_not_waited_for():
    stub, loop = "def f(): return None", "def f():\n    while True: pass"
    limits = Limits(cell_s=3, notebook_s=120)
    said = run(
        stub, loop, "f()", "f()", "print(f())", limits=limits, roles=("answer", "answer", "hidden", "hidden", "check")
    )
    told = [outcome for _, outcome in said.ran]
    assert [one.timed_out for one in told] == [False, False, True, True, False]
    assert told[3].seconds == 0.0
    assert told[4].stdout == "None\n"  # the visible check meets the stub


DEADLY = {
    "gone": ("import os; os._exit(3)", None),
    "segfault": ("import ctypes; ctypes.string_at(0)", None),
    "memory": ("kept = []\nwhile True: kept.append(b'x' * 2**26)", "memory"),
    "flood": ("while True: print('x' * 1000)", "output"),
    "processes": (
        "import subprocess, time\n_ = [subprocess.Popen(['sleep', '60']) for _ in range(70)]\ntime.sleep(20)",
        "processes",
    ),
    "deaf": (
        "import time\nwhile True:\n    try:\n        time.sleep(9)\n    except KeyboardInterrupt:\n        pass",
        None,
    ),
}


@pytest.mark.parametrize(("text", "why"), DEADLY.values(), ids=DEADLY)
def test_what_kills_a_kernel_ends_the_run_there_and_leaves_nothing(text, why):
    limits = Limits(cell_s=4 if why is None else 30, notebook_s=120, memory_bytes=2**30)
    said = run("print(0)", text, "print(2)", limits=limits)
    assert not said.lived
    assert [(outcome.alive, outcome.ended or None) for _, outcome in said.ran] == [(True, None), (False, why)]
    left = [one for one in psutil.Process().children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE]
    assert left == []
    assert not [job for job in Path("/tmp").glob("grade-*/job.json") if f'"grader": {os.getpid()},' in job.read_text()]


def test_the_time_of_a_notebook_is_bounded():
    limits = Limits(cell_s=60, notebook_s=6)
    said = run("print(0)", "import time; time.sleep(100)", "print(2)", limits=limits)
    assert said.ran[-1][1].ended == "time"
    assert len(said.ran) == 2


def test_a_lesson_cell_has_more_time_than_an_answer():
    said = run(
        "import time; time.sleep(3)",
        "time.sleep(3)",
        limits=Limits(cell_s=1, notebook_s=60),
        roles=("lesson", "answer"),
    )
    assert [outcome.timed_out for _, outcome in said.ran] == [False, True]


def test_folders_of_killed_graders_are_removed_and_those_of_living_ones_kept():
    gone = subprocess.Popen(["true"])
    gone.wait()
    folders = {pid: Path(tempfile.mkdtemp(prefix="grade-", dir="/tmp")) for pid in (gone.pid, os.getpid())}
    for pid, folder in folders.items():
        (folder / "job.json").write_text(json.dumps({"grader": pid}))
    try:
        remove_left_overs()
        assert [folder.exists() for folder in folders.values()] == [False, True]
    finally:
        shutil.rmtree(folders[os.getpid()])
