"""How fast do processes add up their tensors? `python -m course_utils.experiments.all_reduce`.

Starts `--processes` of itself with torchrun and times an all-reduce of float32 by message size, in turns; with `--ddp`
it is one of several that a launcher has started (srun with one task a GPU, torchrun over nodes). Backend: NCCL on GPUs,
gloo on CPUs. Each size is a record; the table adds the ring that fits.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from course_utils.entry import StatedDefaults, run_main
from course_utils.experiments.devices import DEVICE_HELP
from course_utils.experiments.launcher import launch
from course_utils.experiments.ranks import Ranks, joined
from course_utils.experiments.row_files import inside
from course_utils.measure import Record, load, manifest, record
from course_utils.measure.collectives import Messages, time_messages

__all__ = ["KIND", "SIZES", "main", "messages_of", "time_all_reduce"]

KIND = "all-reduce"
SIZES = tuple(4**power for power in range(5, 13))
"""Message sizes in bytes, 1 KiB to 16 MiB."""

_PROGRAM = ("-m", "course_utils.experiments.all_reduce", "--ddp")


def time_all_reduce(
    sizes: Sequence[int] = SIZES, *, processes: int = 2, rounds: int = 20, device: str | None = None
) -> Messages:
    """Start `processes` processes and time an all-reduce of each of `sizes` bytes; nothing is recorded.

    `device` is what `--device` names. Raises what `launch` and `time_messages` raise.
    """
    with tempfile.TemporaryDirectory(prefix="course-all-reduce-") as folder:
        path = Path(folder) / "records.jsonl"
        _launched(sizes, processes, rounds, device, path)
        return messages_of(load(path))


def messages_of(records: Sequence[Record]) -> Messages:
    """The messages that the latest measurement among `records` has timed. Raises `ValueError` where there is none."""
    told = [one for one in records if one.kind == KIND]
    if not told:
        raise ValueError(f"no record of kind {KIND!r} among {len(records)}: run {' '.join(_PROGRAM[:2])} first.")
    same = [one for one in told if one.config["started"] == told[-1].config["started"]]
    return Messages(same[-1].config["world_size"], {one.config["nbytes"]: one.config["samples_s"] for one in same})


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m course_utils.experiments.all_reduce",
        description="Time an all-reduce of float32 by message size, and fit the ring model.",
        formatter_class=StatedDefaults,
    )
    add = made.add_argument
    add("--processes", type=int, default=2, metavar="N", help="how many to start here")
    add("--ddp", action="store_true", help="be one of the processes that a launcher has started")
    add("--sizes", type=int, nargs="+", default=list(SIZES), metavar="BYTES", help="message sizes in bytes")
    add("--rounds", type=int, default=20, metavar="N", help="samples of each size")
    add("--out", type=Path, default=Path("results/local/all_reduce.jsonl"), metavar="FILE", help="records")
    add("--device", help=DEVICE_HELP)
    return made


def main(argv: list[str] | None = None) -> int:
    """Measure from the command line; returns the exit status."""
    options = parser().parse_args(argv)
    _refuse_nonsense(options)
    if not options.ddp:
        _launched(options.sizes, options.processes, options.rounds, options.device, options.out)
        print(messages_of(load(options.out)))
        print(f"records in {inside(options.out)}")
        return 0
    with joined(options.device, started_as=str([options.sizes, options.rounds])) as ranks:
        _measured(ranks, options)
    return 0


def _refuse_nonsense(options: argparse.Namespace) -> None:
    if len(set(options.sizes)) < 2 or min(options.sizes) < 4 or options.rounds < 1:
        raise ValueError(
            f"--sizes must be two or more, of 4 bytes at least, and --rounds positive, got {options.sizes} and "
            f"{options.rounds}."
        )
    if not options.ddp and options.processes < 2:
        raise ValueError(f"--processes is {options.processes}: a process alone exchanges nothing, start 2 or more.")


def _launched(sizes: Sequence[int], processes: int, rounds: int, device: str | None, path: Path) -> None:
    """Let torchrun start the processes; rank 0 writes the records to `path`."""
    words = ["--sizes", *map(str, sizes), "--rounds", str(rounds), "--out", str(path.resolve())]
    launch(*_PROGRAM, *words, *(["--device", device] if device else []), processes=processes, show=False)


def _measured(ranks: Ranks, options: argparse.Namespace) -> None:
    """Time all sizes together with the others; rank 0 writes a record of each."""
    if ranks.world_size < 2:
        raise ValueError("a process alone exchanges nothing: start 2 or more.")
    values = {nbytes: torch.ones(nbytes // 4, device=ranks.device) for nbytes in options.sizes}

    def synchronize() -> None:
        if ranks.device.type == "cuda":
            torch.cuda.synchronize()

    own = time_messages(
        lambda nbytes: dist.all_reduce(values[nbytes]),
        options.sizes,
        rounds=options.rounds,
        ready=ranks.wait,
        synchronize=synchronize,
    )
    told = ranks.gather(own)
    if ranks.first:
        slowest = {nbytes: np.max([one[nbytes] for one in told], axis=0).tolist() for nbytes in options.sizes}
        _write(ranks, slowest, options.out)


def _write(ranks: Ranks, samples_s: dict[int, list[float]], path: Path) -> None:
    """Append a record for each size: the median of the slowest process, its quartiles, and the samples themselves."""
    made_on = manifest(device=ranks.device, devices=ranks.world_size, dtype="float32", step="one all-reduce")
    backend, started = dist.get_backend(), round(time.time(), 3)
    for nbytes, samples in samples_s.items():
        low, median, high = np.quantile(samples, [0.25, 0.5, 0.75])
        about: dict[str, Any] = {"nbytes": nbytes, "backend": backend, "started": started, **ranks.described()}
        config = {**about, "samples_s": samples}
        bounds: dict[str, Any] = {"low": float(low), "high": float(high), "n": len(samples)}
        name = f"all-reduce of {nbytes} bytes, {ranks.world_size} processes"
        record(KIND, name, config, float(median), "s", path=path, manifest=made_on, **bounds)


if __name__ == "__main__":
    raise SystemExit(run_main(main))
