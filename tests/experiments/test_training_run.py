"""The recorded run: its folder, its log, a clean stop on signals, and going on after a kill as if nothing happened."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from importlib.metadata import version

import pytest
import torch

from course_utils.diffusion import latest, load_checkpoint, load_weights
from course_utils.experiments import stopping, training_run
from course_utils.experiments.stopping import Agreed, StopFlag
from course_utils.experiments.training_log import TrainingLog, read_log

QUICK = ["--scale", "smoke", "--batch-size", "4", "--log-every", "1", "--heldout", "8"]


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)


def losses(folder):
    return {entry["step"]: entry["loss"] for entry in read_log(folder / "log.jsonl") if entry["event"] == "step"}


def weights(folder):
    state = load_checkpoint(folder)
    return {name: tensor.clone() for name, tensor in state.diffusion.model.state_dict().items()}


def assert_same(a, b):
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_leaves_checkpoints_a_log_and_weights(tmp_path, capsys):
    out = tmp_path / "run"
    assert training_run.main([*QUICK, "--num-steps", "3", "--out", str(out)]) == 0
    events = [entry["event"] for entry in read_log(out / "log.jsonl")]
    assert events == ["data", "start", "step", "step", "step", "heldout"]
    start = read_log(out / "log.jsonl")[1]
    assert start["manifest"]["versions"]["torch"] == version("torch")
    assert load_checkpoint(out).images_seen == 12
    averaged = load_checkpoint(out).averaged().model.state_dict()
    assert_same(load_weights(out / "weights.safetensors").model.state_dict(), averaged)
    assert "12 images" in capsys.readouterr().out


def test_the_same_words_typed_again_add_nothing_to_a_complete_run(tmp_path):
    out = tmp_path / "run"
    words = [*QUICK, "--num-steps", "2", "--out", str(out)]
    training_run.main(words)
    before = losses(out), weights(out)
    assert training_run.main(words) == 0
    assert losses(out) == before[0]
    assert_same(weights(out), before[1])


def test_a_run_in_two_parts_is_the_run_in_one(tmp_path):
    for out, parts in ((tmp_path / "one", ["5"]), (tmp_path / "two", ["2", "5"])):
        for num_steps in parts:
            training_run.main([*QUICK, "--num-steps", num_steps, "--out", str(out)])
    assert losses(tmp_path / "one") == losses(tmp_path / "two")
    assert_same(weights(tmp_path / "one"), weights(tmp_path / "two"))


def started(out, num_steps, tmp_path):
    words = [*QUICK, "--num-steps", str(num_steps), "--checkpoint-every", "2", "--out", str(out)]
    command = [sys.executable, "-m", "course_utils", "train", *words]
    return command, subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_step(out, step, process):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"the run ended early: {process.communicate()}")
        if (out / "log.jsonl").exists() and max(losses(out), default=0) >= step:
            return
        time.sleep(0.02)
    process.kill()
    pytest.fail("the run did not get there")


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGUSR1, signal.SIGKILL])
def test_stopped_or_killed_it_goes_on_exactly(tmp_path, sent):
    out, num_steps = tmp_path / "run", 40
    command, process = started(out, num_steps, tmp_path)
    wait_for_step(out, 5, process)
    process.send_signal(sent)
    _, said = process.communicate(timeout=120)
    reached = load_checkpoint(out).step
    assert 0 < reached < num_steps
    if sent is signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == training_run.STOPPED
        assert f"Stopped by {sent.name} after step {reached}" in said
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    straight = tmp_path / "straight"
    training_run.main([*QUICK, "--num-steps", str(num_steps), "--out", str(straight)])
    assert losses(out) == losses(straight)
    assert_same(weights(out), weights(straight))


def test_another_run_in_the_same_folder_is_refused(tmp_path):
    out = tmp_path / "run"
    training_run.main([*QUICK, "--num-steps", "1", "--out", str(out)])
    for other in (["--seed", "1"], ["--objective", "pred_noise"]):
        with pytest.raises(ValueError, match="choose another --out"):
            training_run.main([*QUICK, "--num-steps", "2", "--out", str(out), *other])


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--num-steps", "0"], "--num-steps is 0, but must be at least 1"),
        (["--batch-size", "-4"], "--batch-size is -4"),
        (["--lr", "0"], "--lr must be above 0"),
    ],
)
def test_numbers_that_make_no_sense_are_named(words, complaint):
    with pytest.raises(ValueError, match=complaint):
        training_run.main(words)


def test_what_learns_in_another_way_from_some_step_on_is_said(tmp_path, capsys):
    out = ["--out", str(tmp_path / "run"), "--checkpoint-every", "1"]
    training_run.main([*QUICK, *out, "--num-steps", "1"])
    training_run.main([*QUICK, *out, "--num-steps", "2"])
    assert "From step" not in capsys.readouterr().out
    training_run.main([*QUICK, *out, "--num-steps", "3", "--lr", "0.01"])
    said = "From step 2 on with --lr 0.01, so far 0.0002. For a run of its own choose another --out."
    assert said in capsys.readouterr().out
    starts = [entry for entry in read_log(tmp_path / "run" / "log.jsonl") if entry["event"] == "start"]
    assert [entry["num_steps"] for entry in starts] == [1, 2, 3]


def test_a_learning_rate_that_explodes_is_named_with_its_step_and_not_saved(tmp_path):
    out = tmp_path / "run"
    with pytest.raises(ValueError, match=r"at step \d+: lower the learning rate"):
        training_run.main([*QUICK, "--num-steps", "30", "--lr", "1e20", "--checkpoint-every", "1", "--out", str(out)])
    found = latest(out)
    assert found is None or all(t.isfinite().all() for t in weights(out).values())


def test_the_log_drops_what_a_killed_process_lost_and_half_a_line(tmp_path):
    path = tmp_path / "log.jsonl"
    lines = [{"event": "step", "step": step, "loss": 1.0} for step in (1, 2, 3)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"event": "st')
    TrainingLog(path, step=2)
    assert [entry["step"] for entry in read_log(path)] == [1, 2]
    path.write_text('{"a": 1}\nnot json\n{"b": 2}\n')
    with pytest.raises(ValueError, match="line 2 is not JSON"):
        read_log(path)


def test_the_flag_hands_the_signals_back_and_a_second_ctrl_c_stops_at_once():
    before = signal.getsignal(signal.SIGTERM)
    with StopFlag() as stop:
        assert not stop()
        signal.raise_signal(signal.SIGINT)
        assert stop()
        assert stop.name == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def begun(out, *words, num_steps="2"):
    return training_run.main([*QUICK, "--num-steps", num_steps, "--out", str(out), *words])


def test_a_run_may_begin_with_the_weights_of_another(tmp_path):
    begun(tmp_path / "first")
    source = tmp_path / "first" / "weights.safetensors"
    begun(tmp_path / "second", "--init", str(source), "--seed", "7", "--lr", "1e-30", num_steps="1")
    assert_same(weights(tmp_path / "second"), load_weights(source).model.state_dict())
    start = next(entry for entry in read_log(tmp_path / "second" / "log.jsonl") if entry["event"] == "start")
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    assert start["init"] == {"source": "weights.safetensors", "sha256": sha256, "images_seen": None}
    state = load_checkpoint(tmp_path / "second")
    assert (state.step, state.images_seen, state.seed) == (1, 4, 7)


def test_a_checkpoint_to_begin_with_gives_its_average_and_its_count(tmp_path):
    begun(tmp_path / "first")
    begun(tmp_path / "second", "--init", str(tmp_path / "first"), "--lr", "1e-30", num_steps="1")
    assert_same(weights(tmp_path / "second"), load_checkpoint(tmp_path / "first").averaged().model.state_dict())
    start = next(entry for entry in read_log(tmp_path / "second" / "log.jsonl") if entry["event"] == "start")
    assert start["init"]["images_seen"] == 8


def test_begun_with_weights_it_goes_on_exactly(tmp_path):
    begun(tmp_path / "first")
    words = ["--init", str(tmp_path / "first"), "--seed", "3"]
    for out, parts in ((tmp_path / "one", ["4"]), (tmp_path / "two", ["2", "4"])):
        for num_steps in parts:
            begun(out, *words, num_steps=num_steps)
    assert losses(tmp_path / "one") == losses(tmp_path / "two")
    assert_same(weights(tmp_path / "one"), weights(tmp_path / "two"))


def test_other_first_weights_in_the_same_folder_are_refused(tmp_path):
    begun(tmp_path / "first")
    begun(tmp_path / "second", "--init", str(tmp_path / "first"))
    with pytest.raises(ValueError, match=r"began with the weights of step_00000002\.safetensors, asked was fresh ones"):
        begun(tmp_path / "second", num_steps="3")
    with pytest.raises(ValueError, match=r"began with fresh weights, asked was those of step_00000002"):
        begun(tmp_path / "first", "--init", str(tmp_path / "second"), num_steps="3")


def test_weights_of_another_recipe_are_no_beginning(tmp_path):
    begun(tmp_path / "first")
    with pytest.raises(ValueError, match="choose the --scale, --objective and --beta-schedule of those weights"):
        begun(tmp_path / "second", "--init", str(tmp_path / "first"), "--objective", "pred_noise")
    with pytest.raises(FileNotFoundError, match="there is no nowhere: name a checkpoint"):
        begun(tmp_path / "second", "--init", "nowhere")
    assert not (tmp_path / "second").exists()


def test_a_stop_file_stops_it_and_it_asks_to_go_on(tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    out.mkdir()
    for name in ("STOP", "REQUEUE"):
        (out / name).touch()  # left behind by an earlier run: no reason to stop
    monkeypatch.setattr(stopping, "LOOK_EVERY_S", 0)
    step_logged = TrainingLog.step

    def step_then_stop(log, info):
        step_logged(log, info)
        if info.step == 3:
            assert not (out / "REQUEUE").exists()
            (out / "STOP").touch()

    monkeypatch.setattr(TrainingLog, "step", step_then_stop)
    words = [*QUICK, "--num-steps", "5", "--out", str(out)]
    assert training_run.main(words) == training_run.STOPPED
    reached = load_checkpoint(out).step
    assert reached == 4, "asked before the log of step 3 was written, and after step 4"
    assert f"Stopped by the file STOP after step {reached}; type the same" in capsys.readouterr().err
    assert (out / "REQUEUE").read_text() == f"Stopped by the file STOP after step {reached}\n"
    assert training_run.main(words) == 0
    assert load_checkpoint(out).step == 5
    assert not (out / "REQUEUE").exists()
    assert not (out / "STOP").exists()


def test_a_stop_is_agreed_on_at_every_nth_question():
    asked = []

    def agree(flag):
        asked.append(flag)
        return True

    stop = Agreed(lambda: False, agree, every=3)
    assert [stop() for _ in range(7)] == [False, False, True, False, False, True, False]
    assert asked == [False, False], "another process may want it"


def test_a_launchers_second_ctrl_c_is_no_reason_to_leave_at_once():
    with StopFlag(patient=True) as stop:
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
        assert stop()
