"""The work of the course's U-Net at any width and batch, block by block, from a few counted ones.

FLOP and bytes of a block are polynomials of the width, of degree 2, since a kernel's size is the product of two channel
numbers; FLOP are proportional to the batch, bytes are those of the weights plus some for each image. So three widths at
two batches tell all, but for a batch of one, which torch multiplies in another way and which is counted for itself.

The counts for the three scales are shipped (`python -m course_utils.classroom.widgets.unet_counts` makes them anew, in
some minutes). With another torch, or for another network, `count` runs on small tensors, a minute the first time; the
answer is kept as JSON under `COURSE_CACHE` or `~/.cache/diffusion-course`. Shapes: images are (N, 3, 32, 32).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from course_utils.atomic import replacing
from course_utils.diffusion import SCALES, baseline
from course_utils.measure import count, manifest
from course_utils.speedups import bottleneck, im2col

__all__ = ["BlockWork", "Structure", "UnetWork", "built", "counted", "unet_work"]

WIDTHS, BATCHES = (16, 32, 48), (1, 2, 4)
SHIPPED = Path(__file__).parent / "counts" / "unet-counts.json.gz"
REDUCTIONS = (1, 2, 4)
METHOD_VERSION = 1  # raise it when the same structure would be counted otherwise


@dataclass(frozen=True)
class Structure:
    """A U-Net but for its width: factors of the levels, 3x3 convolutions narrowed by `reduction`, im2col or not."""

    mults: tuple[int, ...] = (1, 2, 4)
    reduction: int = 1
    unfold: bool = False


@dataclass(frozen=True)
class BlockWork:
    """FLOP, bytes in fp32 and kernels of a block's forward pass."""

    flop: int
    bytes_moved: int
    kernels: int


@dataclass(frozen=True)
class UnetWork:
    """Counts of a structure at the widths and batches of this file, by block: {name: [[flop, bytes, kernels], ...]}."""

    structure: Structure
    counts: Mapping[str, list[list[int]]]

    def at(self, width: int, batch: int) -> dict[str, BlockWork]:
        """The work of each block at a width and a batch."""
        by_batch = np.array([1.0, 0.0, 0.0] if batch == 1 else [0.0, *_weights(BATCHES[1:], batch)])
        weights = np.outer(by_batch, _weights(WIDTHS, width)).ravel()  # in the order of `counted_grid`
        found = {}
        for name, rows in self.counts.items():
            flop, moved, kernels = weights @ np.asarray(rows, dtype=np.float64)
            found[name] = BlockWork(round(float(flop)), round(float(moved)), round(float(kernels)))
        return found


def built(structure: Structure, width: int) -> torch.nn.Module:
    """The untrained network of a structure. Raises ValueError where the bottleneck finds nothing to treat."""
    net = baseline(replace(SCALES["laptop"], dim=width, dim_mults=structure.mults)).model
    if structure.reduction > 1:
        net = bottleneck(net, where="inside", reduction=structure.reduction)
    return im2col(net) if structure.unfold else net


def counted(structure: Structure, width: int, batch: int) -> dict[str, BlockWork]:
    """The work of each block, counted by running the network once."""
    x_t, t = torch.zeros(batch, 3, 32, 32), torch.zeros(batch, dtype=torch.long)  # (N, C, H, W), (N,)
    with torch.no_grad():
        work = count(built(structure, width), x_t, t)
    return {name: BlockWork(row.flop, row.bytes_moved, row.kernels) for name, row in work.per_module.items()}


@lru_cache(maxsize=64)
def unet_work(structure: Structure) -> UnetWork:
    """What is known of a structure: shipped, or in the file of this machine, or else counted now and kept there."""
    path = _cache_path(structure)
    known = _shipped().get(_key(structure)) or _load(path)
    if known is None:
        known = counted_grid(structure)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(known) + "\n", encoding="utf-8")
    return UnetWork(structure, known)


def counted_grid(structure: Structure) -> dict[str, list[list[int]]]:
    """[flop, bytes, kernels] of each block at every batch and width of this file, batches outermost."""
    grid = [counted(structure, width, batch) for batch in BATCHES for width in WIDTHS]
    return {name: [[one[name].flop, one[name].bytes_moved, one[name].kernels] for one in grid] for name in grid[0]}


def _weights(nodes: tuple[int, ...], x: float) -> np.ndarray:
    """Lagrange's weights: the value at x of the polynomial through the nodes is their sum with the values."""
    return np.array([np.prod([(x - other) / (node - other) for other in nodes if other != node]) for node in nodes])


def _versions() -> list[str]:
    """What decides on the operators of the network: torch and the library, without what they were built for."""
    return [version(name).split("+")[0] for name in ("torch", "denoising-diffusion-pytorch")]


def _key(structure: Structure) -> str:
    return json.dumps([asdict(structure), _versions(), WIDTHS, BATCHES, METHOD_VERSION])


def _cache_path(structure: Structure) -> Path:
    folder = Path(os.environ.get("COURSE_CACHE") or Path.home() / ".cache" / "diffusion-course")
    return folder / f"unet-counts-{hashlib.sha256(_key(structure).encode()).hexdigest()[:12]}.json"


@lru_cache(maxsize=1)
def _shipped() -> dict[str, dict[str, list[list[int]]]]:
    """The shipped counts by key; none of them fits where torch or the library is another."""
    found: dict[str, dict[str, list[list[int]]]] = json.loads(gzip.decompress(SHIPPED.read_bytes()))["counts"]
    return found


def write(path: Path = SHIPPED) -> Path:
    """Count every structure of every scale and write the shipped file."""
    scales = dict.fromkeys(one.dim_mults for one in SCALES.values())
    wanted = [Structure(mults, n, unfold) for mults in scales for n in REDUCTIONS for unfold in (False, True)]
    made = {_key(one): counted_grid(one) for one in tqdm(wanted, desc="counting U-Nets")}
    told = {"manifest": manifest(), "counts": made}
    with replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(json.dumps(told, separators=(",", ":"), default=str).encode(), mtime=0))
    return path


def _load(path: Path) -> dict[str, list[list[int]]] | None:
    """Counts kept in a file; None where there is none, or none that can be read."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        whole = {str(name): [[int(cell) for cell in row] for row in rows] for name, rows in kept.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    fits = all(
        len(rows) == len(WIDTHS) * len(BATCHES) and all(len(row) == 3 for row in rows) for rows in whole.values()
    )
    return whole if whole and fits else None


if __name__ == "__main__":
    print(write())
