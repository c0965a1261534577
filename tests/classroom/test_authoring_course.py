"""Executing the whole course: it goes on after a failure, says so, and stops cleanly."""

import json
import os
import signal
import subprocess
import sys
import time

import nbformat
import psutil
import pytest
from authoring_lesson import LESSON, write_lesson

from course_utils.classroom.authoring.course import main
from course_utils.classroom.authoring.execution import execute, smoke_environment
from course_utils.measure import load

BROKEN = LESSON.replace('print("two', 'x = {}["<gone>"]; print("two').replace("02 · Timing", "00 · Start")


def test_course_goes_on_after_a_failure_and_links_what_it_wrote(tmp_path, capsys):
    write_lesson(tmp_path, BROKEN, "00_start")
    folders = write_lesson(tmp_path)
    assert main(["--root", str(tmp_path)]) == 1
    index = (folders.course / "index.html").read_text(encoding="utf-8")
    assert "failed in cell measure: KeyError: &#x27;&lt;gone&gt;&#x27;" in index
    assert '<a href="02_timing.html">02 · Timing</a>' in index
    executed = nbformat.read(folders.course / "02_timing.ipynb", as_version=4)
    outputs = {cell.id: cell.outputs for cell in executed.cells if cell.cell_type == "code"}
    assert outputs["measure"][0].text == "two threads: 2.0\n"
    assert "execution" not in executed.cells[1].metadata
    assert "two threads: 2.0" in (folders.course / "02_timing.html").read_text(encoding="utf-8")
    assert (folders.course / "00_start.html").exists()
    assert not list(folders.course.glob(".*"))
    assert str(folders.course / "index.html") in capsys.readouterr().out


def test_a_record_has_the_seconds_of_what_ran_to_its_end(tmp_path):
    write_lesson(tmp_path, BROKEN, "00_start")
    write_lesson(tmp_path)
    path = tmp_path / "minutes.jsonl"
    started = time.perf_counter()
    assert main(["--root", str(tmp_path), "--scale", "smoke", "--record", str(path)]) == 1
    took_s = time.perf_counter() - started
    (one,) = load(path)
    assert (one.kind, one.name, one.unit, one.config) == ("notebook", "02_timing", "s", {"scale": "smoke"})
    assert 0 < one.value < took_s
    assert one.manifest["versions"]["python"]


def test_one_notebook_can_be_chosen_unsolved_and_embeds_its_figure(tmp_path):
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><desc>a-roof</desc></svg>'
    folders = write_lesson(tmp_path, LESSON.replace("# Compare.", "# ![roof](figures/roof.svg)"))
    (folders.students / "figures").mkdir()
    (folders.students / "figures" / "roof.svg").write_text(svg, encoding="utf-8")
    assert main(["--root", str(tmp_path), "--unsolved", "--scale", "smoke", "02_timing"]) == 0
    page = (folders.course / "02_timing.html").read_text(encoding="utf-8")
    assert "not answered yet" in page
    assert "data:image/svg+xml;base64," in page


def test_the_guesses_of_a_solved_notebook_stay_out_of_the_readers(tmp_path, monkeypatch):
    mine = tmp_path / "mine.jsonl"
    monkeypatch.setenv("COURSE_PREDICTIONS", str(mine))
    guessing = 'import os; open(os.environ["COURSE_PREDICTIONS"], "a").write("a guess"); print("two'
    write_lesson(tmp_path, LESSON.replace('print("two', guessing))
    assert main(["--root", str(tmp_path)]) == 0
    assert not mine.exists()
    assert smoke_environment(tmp_path)["COURSE_PREDICTIONS"] != str(mine)


def test_unknown_notebooks_scales_and_empty_folders_are_named(tmp_path):
    with pytest.raises(ValueError, match="there is no notebook in"):
        main(["--root", str(tmp_path)])
    write_lesson(tmp_path)
    with pytest.raises(ValueError, match=r"no notebook is called \['02_timming'\]"):
        main(["--root", str(tmp_path), "02_timming"])
    with pytest.raises(ValueError, match="scale is 'huge'"):
        main(["--root", str(tmp_path), "--scale", "huge"])


def test_the_kernel_is_this_interpreter_whatever_python3_means_elsewhere(tmp_path, monkeypatch):
    wrong = tmp_path / "jupyter" / "kernels" / "python3"
    wrong.mkdir(parents=True)
    spec = {"argv": ["/bin/false"], "display_name": "wrong", "language": "python"}
    (wrong / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    cell = nbformat.v4.new_code_cell("import sys, os; print(sys.executable, os.getcwd())")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    assert execute(notebook, cwd=tmp_path).ok
    assert notebook.cells[0].outputs[0].text.split() == [sys.executable, str(tmp_path.resolve())]


def test_timeout_and_dead_kernel_are_told_in_a_sentence(tmp_path):
    def outcome(code):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code, id="a")])
        return execute(notebook, cwd=tmp_path, timeout_s=1)

    assert "timed out" in outcome("import time; time.sleep(20)").error
    dead = outcome("import os; os._exit(1)")
    assert (dead.failed_cell, dead.error) == ("a", "the kernel died (out of memory, or killed)")


def test_ctrl_c_ends_the_course_and_its_kernel(tmp_path):
    mark = tmp_path / "kernel.pid"
    sleep = f"import os, pathlib, time; pathlib.Path({str(mark)!r}).write_text(str(os.getpid())); time.sleep(60)"
    write_lesson(tmp_path, LESSON.replace("import math", f"import math\n{sleep}"))
    command = [
        sys.executable,
        "-c",
        "import sys; from course_utils.classroom.authoring.course import main; sys.exit(main())",
    ]
    process = subprocess.Popen(
        [*command, "--root", str(tmp_path)], stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    while not (mark.exists() and mark.read_text()):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.startswith("course: stopped")  # nothing else, no traceback
    assert len(errors.splitlines()) == 1
    assert not psutil.pid_exists(int(mark.read_text()))
