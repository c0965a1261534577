"""`train --ddp` and `sample --ddp` under torchrun: two processes do what one does, whatever happens to one of them."""

import json
import signal
import time

import numpy as np
import pytest
import torch
from launching import TRAIN, WORKER, Launched
from PIL import Image

from course_utils.diffusion import load_checkpoint
from course_utils.experiments import sampling_run, training_run
from course_utils.experiments.training_log import read_log

NUM_STEPS = 30
WORDS = ("--batch-size", 4, "--heldout", 8, "--num-steps", NUM_STEPS, "--checkpoint-every", 20)


def events(folder, event):
    return [entry for entry in read_log(folder / "log.jsonl") if entry["event"] == event]


def losses(folder):
    return {entry["step"]: entry["loss"] for entry in events(folder, "step")}


def reaching(run, folder, step):
    """Wait until the log of a run tells of a step."""
    deadline = time.monotonic() + 120
    while not (folder / "log.jsonl").exists() or max(losses(folder), default=0) < step:
        if run.process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"it never came to step {step}: {run.ended()}")
        time.sleep(0.01)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("together")


@pytest.fixture(scope="module")
def stopped(folder):
    """A run that SIGUSR1 to process 1 has stopped; -> (its folder, the launcher's status and what was said)."""
    run = Launched(WORKER, "slow", *TRAIN[3:], *WORDS, "--out", folder / "run", cwd=folder)
    reaching(run, folder / "run", 3)
    run.rank(1).send_signal(signal.SIGUSR1)
    status, _, said = run.ended()
    asks = (folder / "run" / "REQUEUE").exists()
    return folder / "run", status, said, load_checkpoint(folder / "run").step, asks


@pytest.fixture(scope="module")
def resumed(stopped, folder):
    """The same words typed again; -> (its folder, what was printed)."""
    status, printed, said = Launched(*TRAIN, *WORDS, "--out", folder / "run", cwd=folder).ended()
    assert status == 0, said
    return folder / "run", printed


def test_a_signal_to_one_process_stops_both_and_asks_to_go_on(stopped):
    _, status, said, reached, asks = stopped
    assert 3 <= reached < NUM_STEPS
    assert asks
    assert status == 1, "torchrun's own"
    assert "exitcode  : 75" in said
    assert f"Stopped by SIGUSR1 at rank 1 after step {reached}; type the same command again" in said


def test_a_run_of_two_is_the_run_of_one_at_the_same_global_batch(resumed, folder, monkeypatch):
    """Adam's first steps divide by sqrt(v): a gradient of rounding size moves a weight by up to lr a step."""
    monkeypatch.chdir(folder)
    words = [*map(str, TRAIN[4:]), *map(str, WORDS), "--batch-size", "8", "--out", str(folder / "one")]
    assert training_run.main(words) == 0
    one, two = load_checkpoint(folder / "one"), load_checkpoint(resumed[0])
    assert two.images_seen == one.images_seen == NUM_STEPS * 8
    assert losses(resumed[0]) == pytest.approx(losses(folder / "one"), rel=1e-3)
    for name, wanted in one.diffusion.model.state_dict().items():
        torch.testing.assert_close(two.diffusion.model.state_dict()[name], wanted, rtol=0, atol=5e-4, msg=name)


def test_the_log_names_all_processes_and_what_each_did(resumed, stopped):
    out, printed = resumed
    starts, reached = events(out, "start"), stopped[3]
    assert [start["step"] for start in starts] == [0, reached], "one process writes"
    assert len(events(out, "data")) == 1
    for start in starts:
        assert (start["world_size"], start["global_batch"]) == (2, 8)
        assert [one["device"] for one in start["ranks"]] == ["cpu", "cpu"]
        assert start["manifest"]["ranks"] == start["ranks"]
    own = [4 * reached, 4 * (NUM_STEPS - reached)]
    assert [work["images"] for work in events(out, "work")] == [[images] * 2 for images in own]
    assert printed.count(f"step {NUM_STEPS}, ") == 1, "one process prints"
    assert f"rank 1 on cpu of {starts[1]['ranks'][1]['host']}: {own[1]} images" in printed
    assert not (out / "REQUEUE").exists()


def test_the_crash_of_one_process_ends_all_with_its_reason(folder):
    words = (*TRAIN[3:], *WORDS, "--out", folder / "crashed")
    status, _, said = Launched(WORKER, "crash", *words, cwd=folder).ended()
    assert status == 1
    cause = said[said.index("Root Cause") :]
    assert "rank      : 1 (local_rank: 1)" in cause
    assert "RuntimeError: the planted crash" in cause
    assert "rank 0 of 2, " in said
    assert "another process of this run has ended" in said
    assert not (folder / "crashed" / "REQUEUE").exists()


def test_two_processes_draw_the_pictures_of_one(resumed, folder, monkeypatch):
    monkeypatch.chdir(folder)
    words = [str(resumed[0]), "-n", "5", "--batch-size", "2", "--num-steps", "3", "--device", "cpu", "--seed", "4"]
    status, printed, said = Launched(
        "-m", "course_utils", "sample", "--ddp", *words, "-o", "two.png", cwd=folder
    ).ended()
    assert status == 0, said
    assert printed.count("two.png: 5 pictures from") == 1
    assert sampling_run.main([*words, "-o", "one.png"]) == 0
    one, two = (np.asarray(Image.open(folder / name)) for name in ("one.png", "two.png"))
    assert np.array_equal(one, two)
    assert json.loads((folder / "two.json").read_text())["manifest"]["world_size"] == 2
