"""Processes that meet: what a launcher tells them, what they refuse, and that two of them do what one does."""

import json
import socket
import threading
from datetime import timedelta

import ddp_worker
import pytest
import torch
from launching import WORKER, Launched

from course_utils.diffusion import load_checkpoint
from course_utils.experiments import training_run
from course_utils.experiments.devices import own_device
from course_utils.experiments.meeting import Member, Place, launched, meet
from course_utils.experiments.ranks import alone, joined
from course_utils.experiments.split_sampling import fitting_batch_size
from course_utils.experiments.training_log import read_log

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "n1", "MASTER_PORT": "29500"}
SRUN = {"SLURM_PROCID": "2", "SLURM_NTASKS": "4", "SLURM_LOCALID": "0", "MASTER_ADDR": "n1", "MASTER_PORT": "29500"}


# ---- two processes and one -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("facts")


@pytest.fixture(scope="module")
def two(folder):
    """What each of two processes saw."""
    status, _, said = Launched(WORKER, "facts", folder, cwd=folder).ended()
    assert status == 0, said
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.fixture(scope="module")
def one():
    """What a process alone sees at the same global batch."""
    return ddp_worker.facts_alone()


def test_gradients_are_those_of_one_process(two, one):
    for name, wanted in one["gradients"].items():
        assert torch.equal(two[0]["gradients"][name], two[1]["gradients"][name]), name
        torch.testing.assert_close(two[0]["gradients"][name], wanted, rtol=1e-4, atol=1e-6, msg=name)


def test_weights_and_their_average_are_those_of_one_process(two, one):
    """Adam's first steps divide by sqrt(v): a gradient of rounding size moves a weight by up to lr a step."""
    for kind in ("weights", "average"):
        for name, wanted in one[kind].items():
            assert torch.equal(two[0][kind][name], two[1][kind][name]), name
            torch.testing.assert_close(two[0][kind][name], wanted, rtol=0, atol=1e-4, msg=name)


def test_every_process_reads_the_loss_of_all_and_counts_the_images_of_all(two, one):
    assert two[0]["losses"] == two[1]["losses"]
    assert two[0]["losses"] == pytest.approx(one["losses"], rel=1e-4)
    assert [told["images_seen"] for told in two] == [40, 40] == [one["images_seen"]] * 2


def test_pictures_are_those_of_one_process_to_the_bit(two, one):
    assert len(one["pictures"].unique()) > 100
    assert all(torch.equal(told["pictures"], one["pictures"]) for told in two)


def test_one_process_that_wants_to_stop_stops_both_at_the_next_question(two):
    assert [told["stopped_at"] for told in two] == [5, 5]


def test_nan_in_one_process_ends_both_with_its_step(two):
    assert two[0]["not_finite"] == two[1]["not_finite"]
    assert two[0]["not_finite"].startswith("the loss is nan at step 5: lower the learning rate")


def test_they_know_each_other(two):
    for told in two:
        assert told["said"] == [{"rank": 0}, {"rank": 1}]
        assert told["agreed"] == [True, False]
        assert told["mean"].tolist() == [1.0, 0.5]
        host = {"host": socket.gethostname(), "device": "cpu"}
        assert told["described"] == {"world_size": 2, "ranks": [{"rank": 0, **host}, {"rank": 1, **host}]}
    assert [told["first_here"] for told in two] == [True, False]


def logged(folder, event):
    return [entry for entry in read_log(folder / "log.jsonl") if entry["event"] == event]


def test_a_stop_file_or_a_signal_to_one_process_stops_both_and_asks_to_go_on(two):
    """They ask one another at every fifth step of a start."""
    for told in two:
        assert told["straight"] == (20, True, "", False)
        assert told["parts"] == [
            (5, False, "Stopped by the file STOP at rank 0 after step 5", True),
            (15, False, "Stopped by SIGUSR1 at rank 1 after step 15", True),
            (20, True, "", False),
        ]


def test_stopped_twice_and_resumed_it_is_the_run_that_nobody_stopped(two, folder):
    one, other = (load_checkpoint(folder / name) for name in ("straight", "parted"))
    assert one.images_seen == other.images_seen == 20 * 8
    for name, tensor in one.diffusion.model.state_dict().items():
        assert torch.equal(other.diffusion.model.state_dict()[name], tensor), name
        assert torch.equal(other.ema.tensors[name], one.ema.tensors[name]), name
    assert [entry["step"] for entry in logged(folder / "parted", "start")] == [0, 5, 15]
    losses = {entry["step"]: entry["loss"] for entry in logged(folder / "parted", "step")}
    assert losses.items() >= {entry["step"]: entry["loss"] for entry in logged(folder / "straight", "step")}.items()


def test_one_process_goes_on_where_two_have_stopped(two, folder, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    words = ["--scale", "smoke", "--device", "cpu", "--heldout", "0", "--out", str(folder / "parted"), "--num-steps"]
    assert training_run.main([*words, "21", "--batch-size", "8"]) == 0
    assert "From here on a step takes" not in capsys.readouterr().out
    assert load_checkpoint(folder / "parted").images_seen == 21 * 8
    assert training_run.main([*words, "22", "--batch-size", "4"]) == 0
    assert "From here on a step takes 4 images, so far it took 8" in capsys.readouterr().out


def test_a_process_alone_agrees_with_itself():
    ranks = alone("cpu")
    assert (ranks.first, ranks.together, ranks.first_here) == (True, False, True)
    assert [ranks.agree(True), ranks.agree(False), ranks.gather("all")] == [True, False, ["all"]]
    assert ranks.average(torch.ones(2)).tolist() == ranks.total(torch.ones(2)).tolist() == [1.0, 1.0]


# ---- what a launcher says --------------------------------------------------------------------------------------------


def test_torchrun_and_srun_are_understood_and_torchrun_comes_first():
    assert launched(TORCHRUN) == Place(3, 4, 1, "n1", 29500)
    assert launched(SRUN) == Place(2, 4, 0, "n1", 29500)
    assert launched({**SRUN, **TORCHRUN}) == launched(TORCHRUN)


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({}, r"--ddp needs a launcher, .*torchrun --nproc-per-node=2 -m course_utils train --ddp"),
        ({"RANK": "0"}, "WORLD_SIZE is not set, wanted a whole number"),
        ({**TORCHRUN, "RANK": "4"}, "RANK is 4, wanted 0 to 3, as WORLD_SIZE is 4"),
        ({**SRUN, "SLURM_PROCID": "-1"}, "SLURM_PROCID is '-1', wanted a whole number"),
        ({**SRUN, "MASTER_ADDR": ""}, "MASTER_ADDR is not set, wanted the node of rank 0"),
        ({**SRUN, "MASTER_PORT": "x"}, "MASTER_PORT is 'x', wanted a whole number"),
    ],
)
def test_what_a_launcher_leaves_out_is_named(said, complaint):
    with pytest.raises(ValueError, match=complaint):
        launched(said)


# ---- who does not come, and who does not fit -------------------------------------------------------------------------


@pytest.fixture
def port(monkeypatch):
    """A port that is free, and an environment in which rank 0 keeps the store itself."""
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def at(port, rank=0, world_size=2):
    return Place(rank, world_size, rank, "127.0.0.1", port)


def member(rank, **about):
    return Member(rank, "n1", "cpu" if "gpu" not in about else f"cuda:{rank}", **about)


def together(port, members, words=("", ""), sizes=(2, 2)):
    """Let two processes meet, each in a thread; -> what each has met with, or its complaint."""
    met, stores = {}, []

    def come(rank):
        try:
            store, met[rank] = meet(at(port, rank, sizes[rank]), members[rank], words[rank], timedelta(seconds=20))
            stores.append(store)  # kept until both have met, as a group of processes keeps it
        except (ValueError, TimeoutError) as error:
            met[rank] = str(error)

    threads = [threading.Thread(target=come, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return [met[0], met[1]]


def test_a_process_that_does_not_come_is_named_with_the_address(port):
    with pytest.raises(TimeoutError, match=rf"rank 0 of 3 waited 0.3 s at 127.0.0.1:{port} .* for rank 1, 2: did all"):
        meet(at(port, 0, 3), member(0), "", timedelta(seconds=0.3))
    with pytest.raises(TimeoutError, match=rf"rank 1 of 2 found nobody at 127.0.0.1:{port} .* within 1 s: is rank 0"):
        meet(at(port, 1), member(1), "", timedelta(seconds=1))


def test_a_port_that_is_taken_is_named():
    with socket.socket(socket.AF_INET6) as owner:
        owner.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        owner.bind(("::", 0))
        owner.listen()
        taken = owner.getsockname()[1]
        with pytest.raises(TimeoutError, match=f"rank 0 of 2: port {taken} is taken on this node: choose another"):
            meet(at(taken), member(0), "", timedelta(seconds=1))


def test_two_that_fit_know_each_other(port):
    members = [member(0), member(1)]
    assert together(port, members) == [tuple(members)] * 2


@pytest.mark.parametrize(
    ("members", "words", "complaint"),
    [
        ([{"gpu": "a", "model": "A100"}] * 2, ("", ""), "ranks 0 and 1 have one GPU between them (A100 a of n1)"),
        ([{"gpu": "a"}, {}], ("", ""), "rank 1 on cpu of n1 and rank 0 on cuda:0 of n1 cannot work together"),
        ([{}, {}], ("--lr 1", "--lr 2"), "rank 1 on cpu of n1 was started as --lr 2, rank 0 as --lr 1"),
    ],
)
def test_two_that_do_not_fit_both_hear_why(port, members, words, complaint):
    heard = together(port, [member(rank, **about) for rank, about in enumerate(members)], words)
    assert heard[0] == heard[1]
    assert heard[0].startswith(complaint)


def test_processes_that_count_differently_are_told(port):
    heard = together(port, [member(0), member(1)], sizes=(2, 3))
    assert "was told of 3 processes, rank 0 of 2" in heard[0]


def test_without_a_launcher_the_command_says_how_to_start_it(monkeypatch):
    for name in (*TORCHRUN, *SRUN):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="--ddp needs a launcher"), joined("cpu"):
        pytest.fail("nobody was there")


# ---- devices and shares ----------------------------------------------------------------------------------------------


def test_each_process_takes_the_gpu_of_its_local_rank(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [str(own_device(None, rank)) for rank in (0, 1)] == ["cuda:0", "cuda:1"]
    assert str(own_device("cpu", 1)) == "cpu"
    with pytest.raises(ValueError, match="local rank 2 has no GPU of its own, torch finds 2 here: start 2 processes"):
        own_device("cuda", 2)
    with pytest.raises(ValueError, match=r"--device is 'cuda:1', but with --ddp each process takes a GPU of its own"):
        own_device("cuda:1", 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert str(own_device(None, 3)) == "cuda:0", "a launcher may show each process one GPU alone"


@pytest.mark.parametrize(
    ("n", "batch_size", "world_size", "wanted"), [(64, 64, 1, 64), (64, 64, 2, 32), (5, 64, 4, 1), (100, 8, 2, 8)]
)
def test_no_process_is_left_without_pictures(n, batch_size, world_size, wanted):
    size = fitting_batch_size(n, batch_size, world_size)
    assert size == wanted
    assert -(-n // size) >= world_size
    with pytest.raises(ValueError, match="-n is 1, fewer than the 2 processes"):
        fitting_batch_size(1, 64, 2)


def test_what_is_described_is_plain():
    assert json.loads(json.dumps(alone("cpu").described()))["world_size"] == 1
