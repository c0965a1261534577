"""The processes of one run, and what they settle together.

A launcher starts the same command several times: torchrun, or srun with one task a process. They meet (`meeting.py`),
form a group, and each works on its share. What they settle besides gradients (has anybody been asked to stop?) goes
from processor to processor, so that no GPU is waited for.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup, Store  # type: ignore[attr-defined]

from course_utils.experiments.devices import chosen_device, own_device
from course_utils.experiments.meeting import Member, Place, launched, meet

__all__ = ["PATIENCE", "Ranks", "alone", "joined"]

PATIENCE = timedelta(minutes=10)
"""How long a process waits for the others: at the start, at an exchange, and while rank 0 writes or scores."""


@dataclass(frozen=True, eq=False)
class Ranks:
    """This process among those of its run; `talk` is the group of their processors, None for a process alone."""

    rank: int
    world_size: int
    device: torch.device
    members: tuple[Member, ...]
    talk: ProcessGroup | None = None

    @property
    def first(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    @property
    def first_here(self) -> bool:
        """Whether no process of a lower rank works on this node."""
        return self.rank == min(one.rank for one in self.members if one.host == self.members[self.rank].host)

    @property
    def together(self) -> bool:
        """Whether there is a group, be it of one process."""
        return self.talk is not None

    def agree(self, flag: bool) -> bool:
        """Whether any process says so; all must ask."""
        if self.talk is None:
            return flag
        flags = torch.tensor([int(flag)], dtype=torch.int32)
        dist.all_reduce(flags, dist.ReduceOp.MAX, group=self.talk)
        return bool(flags.item())

    def average(self, numbers: Tensor) -> Tensor:
        """The mean over all processes of a floating-point tensor on the run's device; all must ask."""
        if self.talk is None:
            return numbers
        total = numbers.clone()
        dist.all_reduce(total)
        return total / self.world_size

    def total(self, numbers: Tensor) -> Tensor:
        """The sum over all processes of a tensor on the CPU; all must ask."""
        if self.talk is None:
            return numbers
        total = numbers.clone()
        dist.all_reduce(total, group=self.talk)
        return total

    def gather(self, value: Any) -> list[Any]:
        """What each process says, by rank; all must ask."""
        if self.talk is None:
            return [value]
        said: list[Any] = [None] * self.world_size
        dist.all_gather_object(said, value, group=self.talk)
        return said

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.talk is not None:
            dist.barrier(group=self.talk)

    def described(self) -> dict[str, Any]:
        """How many processes there are and what each works on, as plain values for a log or a manifest."""
        told = [{name: value for name, value in asdict(one).items() if value is not None} for one in self.members]
        return {"world_size": self.world_size, "ranks": told}


def alone(device: str | None = None) -> Ranks:
    """A process without others, on the device that `--device` names; what it settles, it settles with itself."""
    own = torch.device(chosen_device(device))
    return Ranks(0, 1, own, (_member(0, own),))


@contextlib.contextmanager
def joined(device: str | None = None, *, started_as: str = "", patience: timedelta = PATIENCE) -> Iterator[Ranks]:
    """Meet the other processes of this run and form a group until the block ends: NCCL on GPUs, gloo on CPUs.

    `device` is what `--device` names; `started_as` is compared, since all must be started alike. Rank 0 alone prints
    on the standard output. At the end of the block each waits for all. Raises `ValueError` without a launcher, for
    processes that do not fit together and for two on one GPU, `TimeoutError` naming those that did not come, and
    `SystemExit` in one sentence where another process has died, whose own words are the reason.
    """
    place = launched()
    with _speaking_as(place):
        own = own_device(device, place.local_rank)
        store, members = meet(place, _member(place.rank, own), started_as, patience)
        talk = _grouped(place, store, own, patience)
        ended_well = False
        try:
            yield Ranks(place.rank, place.world_size, own, members, talk)
            dist.barrier(group=talk)
            ended_well = True
        finally:
            if ended_well or own.type == "cpu":  # NCCL would wait for whoever is gone
                dist.destroy_process_group()


def _grouped(place: Place, store: Store, device: torch.device, patience: timedelta) -> ProcessGroup:
    """Form the group that exchanges gradients, and return the one that talks from processor to processor."""
    how: dict[str, Any] = {"store": store, "rank": place.rank, "world_size": place.world_size, "timeout": patience}
    if device.type == "cpu":
        dist.init_process_group("gloo", **how)
        talk: Any = dist.group.WORLD
    else:  # pragma: no cover - CUDA
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", device_id=device, **how)
        talk = dist.new_group(backend="gloo", timeout=patience)
    assert isinstance(talk, ProcessGroup)
    return talk


def _member(rank: int, device: torch.device) -> Member:
    """What there is to say about this process."""
    if device.type == "cpu":
        return Member(rank, socket.gethostname(), "cpu")
    about = torch.cuda.get_device_properties(device)  # pragma: no cover - CUDA
    return Member(rank, socket.gethostname(), str(device), about.name, str(about.uuid))  # pragma: no cover - CUDA


@contextlib.contextmanager
def _speaking_as(place: Place) -> Iterator[None]:
    """Name the process in what it says of mistakes; keep the standard output to rank 0."""
    quiet = contextlib.redirect_stdout(io.StringIO()) if place.rank else contextlib.nullcontext()
    try:
        with quiet:
            yield
    except ValueError as error:
        if place.rank == 0:
            raise
        raise ValueError(f"{place}, {socket.gethostname()}: {error}") from error
    except RuntimeError as error:
        if not _lost(error) or os.environ.get("COURSE_DEBUG") == "1":
            raise
        raise SystemExit(
            f"{place}, {socket.gethostname()}: another process of this run has ended or no longer answers; what that "
            f"one said last is the reason. ({str(error).splitlines()[0][:120]})"
        ) from None


def _lost(error: RuntimeError) -> bool:
    """Whether an exchange failed since the other side was gone, or too slow."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)
