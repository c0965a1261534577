"""How the processes of one run find one another: each says at one address who it is, and hears who the others are.

It happens before any of them touches a GPU in common, so that a missing process, two on one GPU, or one with other
options is named, where a collective would only wait.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta

from torch.distributed import DistError, PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

__all__ = ["Member", "Place", "launched", "meet"]

LAUNCH = "start it with torchrun --nproc-per-node=2 -m course_utils train --ddp, or with srun, one task a process"
FAREWELL = timedelta(seconds=5)
_SOURCES = (("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"))


@dataclass(frozen=True)
class Place:
    """What a launcher says: this process is `rank` of `world_size`, `local_rank` on its node; where all meet."""

    rank: int
    world_size: int
    local_rank: int
    address: str
    port: int

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.world_size}"

    @property
    def meeting(self) -> str:
        """The address where all meet, in words."""
        return f"{self.address}:{self.port} (MASTER_ADDR and MASTER_PORT)"


@dataclass(frozen=True)
class Member:
    """One process: the node and the device it works on; `model` and `gpu` are a GPU's name and unique number."""

    rank: int
    host: str
    device: str
    model: str | None = None
    gpu: str | None = None

    def __str__(self) -> str:
        return f"rank {self.rank} on {self.device}{f' ({self.model})' if self.model else ''} of {self.host}"


def launched(environment: Mapping[str, str] = os.environ) -> Place:
    """Read from the environment which process this is. Raises `ValueError` where no launcher has said so."""
    names = next((names for names in _SOURCES if names[0] in environment), None)
    if names is None:
        raise ValueError(f"--ddp needs a launcher, and neither RANK nor SLURM_PROCID is set: {LAUNCH}.")
    rank, world_size, local_rank = (_number(environment, name) for name in names)
    if not 0 <= rank < world_size:
        raise ValueError(f"{names[0]} is {rank}, wanted 0 to {world_size - 1}, as {names[1]} is {world_size}.")
    if not environment.get("MASTER_ADDR"):
        raise ValueError("MASTER_ADDR is not set, wanted the node of rank 0, where all processes meet: export it.")
    return Place(rank, world_size, local_rank, environment["MASTER_ADDR"], _number(environment, "MASTER_PORT"))


def _number(environment: Mapping[str, str], name: str) -> int:
    seen = environment.get(name)
    if seen is None or not seen.isdecimal():
        raise ValueError(f"{name} is {'not set' if seen is None else repr(seen)}, wanted a whole number: {LAUNCH}.")
    return int(seen)


def meet(place: Place, own: Member, started_as: str, patience: timedelta) -> tuple[Store, tuple[Member, ...]]:
    """Wait for all processes; -> (the store that they share, who they are, by rank).

    Raises `TimeoutError` naming those that did not come, `ValueError` for processes that do not fit together.
    """
    store = _opened(place, patience)
    keys = [f"here/{rank}" for rank in range(place.world_size)]
    store.set(keys[place.rank], json.dumps([asdict(own), place.world_size, started_as]))
    try:
        store.wait(keys, patience)
    except DistError as error:
        raise TimeoutError(_absent(store, keys, place, patience)) from error
    said = [json.loads(store.get(key)) for key in keys]
    store.set(f"heard/{place.rank}", "")
    members = tuple(Member(**member) for member, _, _ in said)
    try:
        _refuse_unlike(members, [(world_size, words) for _, world_size, words in said])
        _refuse_shared(members)
    except ValueError:
        if place.rank == 0:  # it may keep the store: all are to hear the reason before it goes
            with contextlib.suppress(DistError):
                store.wait([f"heard/{rank}" for rank in range(place.world_size)], min(patience, FAREWELL))
        raise
    return store, members


def _opened(place: Place, patience: timedelta) -> Store:
    """The store at the meeting place: rank 0 keeps it, unless the launcher does already."""
    kept_by_launcher = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    own = place.rank == 0 and not kept_by_launcher
    try:
        store = TCPStore(place.address, place.port, is_master=own, timeout=patience, wait_for_workers=False)
    except DistError as error:
        raise TimeoutError(_unopened(place, patience, own, str(error))) from error
    return PrefixStore(f"course_utils/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _unopened(place: Place, patience: timedelta, own: bool, why: str) -> str:
    if own and "EADDRINUSE" in why:
        return f"{place}: port {place.port} is taken on this node: choose another MASTER_PORT."
    if own:
        return f"{place} cannot open {place.meeting}, which must name this node: {why.splitlines()[0]}"
    return (
        f"{place} found nobody at {place.meeting} within {patience.total_seconds():g} s: is rank 0 running, "
        "and is that its node?"
    )


def _absent(store: Store, keys: Sequence[str], place: Place, patience: timedelta) -> str:
    waited = f"{place} waited {patience.total_seconds():g} s at {place.meeting}"
    try:
        missing = [str(rank) for rank, key in enumerate(keys) if not store.check([key])]
    except DistError:
        return f"{waited}, then rank 0 was gone: its own words say why."
    return f"{waited} for rank {', '.join(missing)}: did all start, and with the same address?"


def _refuse_unlike(members: Sequence[Member], told: Sequence[tuple[int, str]]) -> None:
    """Raise `ValueError` where processes know another number of processes, other options or another kind of device."""
    for member, (world_size, words) in zip(members, told, strict=True):
        if world_size != len(members):
            raise ValueError(
                f"{member} was told of {world_size} processes, rank 0 of {len(members)}: start them alike."
            )
        if words != told[0][1]:
            raise ValueError(f"{member} was started as {words}, rank 0 as {told[0][1]}: give all the same options.")
        if (member.gpu is None) != (members[0].gpu is None):
            raise ValueError(f"{member} and {members[0]} cannot work together: give all a GPU, or all --device cpu.")


def _refuse_shared(members: Sequence[Member]) -> None:
    """Raise `ValueError` where two processes work on one GPU, each of which would get half of it."""
    owners: dict[str, Member] = {}
    for member in members:
        if member.gpu is not None and owners.setdefault(f"{member.host} {member.gpu}", member) is not member:
            other = owners[f"{member.host} {member.gpu}"]
            raise ValueError(
                f"ranks {other.rank} and {member.rank} have one GPU between them ({member.model} {member.gpu} of "
                f"{member.host}): start as many processes a node as it has GPUs, or ask for more GPUs."
            )
