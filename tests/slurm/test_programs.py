"""The Python programs of slurm/ without a Slurm: the table of a sweep against logs written by hand."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SLURM = Path(__file__).resolve().parents[2] / "slurm"


@pytest.fixture
def write_run(tmp_path):
    """Writes the log of a run: speeds and the held-out loss, if it came so far."""

    def write(name, speeds, loss, *, device="one", cut="", num_steps=None):
        planned = {"num_steps": num_steps or len(speeds), "manifest": {"device": {"name": device}}}
        start = {"event": "start", "step": 0, **planned}
        steps = [
            {"event": "step", "step": step, "images_seen": 8 * step, "img_per_s": speed}
            for step, speed in enumerate(speeds, 1)
        ]
        entries = [start, *steps, *([{"event": "heldout", "loss": loss}] if loss else [])]
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries) + cut)

    return write


def told(folder, *words):
    command = [sys.executable, str(SLURM / "sweep_table.py"), str(folder), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, (folder / "table.md").read_text().splitlines() if folder.is_dir() else done.stderr


def test_a_table_has_a_line_a_run_with_its_median_speed(write_run, tmp_path):
    write_run("b", [10, 30, 20], 0.25)
    write_run("a", [1, 2, 4000], 0.125)
    status, lines = told(tmp_path)
    assert status == 0
    assert lines[2:] == ["| a | 3 | 24 | 0.125 | 2 | one |", "| b | 3 | 24 | 0.25 | 20 | one |"]


def test_what_makes_runs_unlike_or_is_missing_is_said_below(write_run, tmp_path):
    write_run("a", [1, 2], 0.5)
    write_run("b", [1], None, device="other", cut='{"event": "st', num_steps=2)
    write_run("of-another-sweep", [1, 2], 0.5)
    status, lines = told(tmp_path, "c", "a", "b")
    assert status == 1
    assert lines[3:5] == ["| b | 1 | 8 | – | 1 | other |", "| c | 0 | 0 | – | – | – |"]
    notes = [line.split(":")[0] for line in lines[5:] if line]
    assert notes == [
        "The runs were made on different devices",
        "The runs saw different numbers of images",
        "No log of c",
        "1 of 3 runs are complete",
    ]
    assert "with --array=0-2" in lines[-1]


def test_a_run_without_a_held_out_loss_may_be_complete(write_run, tmp_path):
    write_run("a", [1, 2], None)
    assert told(tmp_path, "a")[0] == 0


def test_a_folder_that_is_not_there_is_a_usage_line():
    status, said = told(Path("/nowhere"))
    assert (status, said.startswith("usage: ")) == (2, True)
