"""A small stand-in for CIFAR-10: ten classes of coloured shapes and textures, drawn by arithmetic on integers.

It is recognisable, quick to make and the same on every machine, so that the course runs where the real data cannot be
had. It is *not* CIFAR-10, and everything that shows it says so.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["PROCEDURAL_CLASSES", "draw_images"]

_SIZE, _FINE = 32, 2  # pixels a side; sub-pixels a pixel, which soften the edges
_PARAMETERS = 12
Ints = NDArray[np.int64]


def _disc(u: Ints, v: Ints, r: Ints) -> NDArray[np.bool_]:
    return u * u + v * v <= r * r


def _ring(u: Ints, v: Ints, r: Ints) -> NDArray[np.bool_]:
    return _disc(u, v, r) & ~_disc(u, v, r // 2)


def _square(u: Ints, v: Ints, r: Ints) -> NDArray[np.bool_]:
    return np.maximum(abs(u), abs(v)) <= r - 2


def _frame(u: Ints, v: Ints, r: Ints) -> NDArray[np.bool_]:
    return _square(u, v, r) & ~_square(u, v, r // 2 + 2)


def _triangle(u: Ints, v: Ints, r: Ints) -> NDArray[np.bool_]:
    return (v <= r) & (2 * abs(u) <= v + r)


def _cross(u: Ints, v: Ints, r: Ints) -> NDArray[np.bool_]:
    return (np.minimum(abs(u), abs(v)) <= r // 3) & _square(u, v, r + 2)


def _bars(u: Ints, v: Ints, r: Ints) -> NDArray[np.bool_]:
    return np.broadcast_to((v // (r // 3 + 1)) % 2 == 0, np.broadcast_shapes(u.shape, v.shape))


def _columns(u: Ints, v: Ints, r: Ints) -> NDArray[np.bool_]:
    return _bars(v, u, r)


def _checks(u: Ints, v: Ints, r: Ints) -> NDArray[np.bool_]:
    return _bars(u, v, r) ^ _columns(u, v, r)


def _dots(u: Ints, v: Ints, r: Ints) -> NDArray[np.bool_]:
    pitch = r // 2 + 4
    return _disc(u % pitch - pitch // 2, v % pitch - pitch // 2, pitch // 3)


_SHAPES: dict[str, Callable[[Ints, Ints, Ints], NDArray[np.bool_]]] = {
    "disc": _disc,
    "ring": _ring,
    "square": _square,
    "frame": _frame,
    "triangle": _triangle,
    "cross": _cross,
    "bars": _bars,
    "columns": _columns,
    "checks": _checks,
    "dots": _dots,
}
PROCEDURAL_CLASSES = tuple(_SHAPES)


def draw_images(n: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Draw `n` images, uint8 (n, 3, 32, 32), with their labels, int64 (n,).

    Image i is of class i % 10; it depends on (seed, i) alone, so a shorter set is the beginning of a longer one.
    """
    draws = np.random.default_rng(seed).integers(0, 1 << 16, size=(n, _PARAMETERS), dtype=np.int64)
    images = np.empty((n, 3, _SIZE, _SIZE), np.uint8)
    for label, shape in enumerate(_SHAPES.values()):
        images[label::10] = _draw_class(draws[label::10], shape)
    return torch.from_numpy(images), torch.arange(n) % 10


def _draw_class(draws: Ints, shape: Callable[[Ints, Ints, Ints], NDArray[np.bool_]]) -> Ints:
    """Images of one class from their random parameters (n, 12): position, size, two colours, shading."""
    side = _SIZE * _FINE
    column = draws[:, :, None, None]  # (n, 12, 1, 1)
    x, y, r = 24 + column[:, 0] % 16, 24 + column[:, 1] % 16, 14 + column[:, 2] % 9
    u = np.arange(side)[None, None, :] - x  # (n, 1, side)
    v = np.arange(side)[None, :, None] - y  # (n, side, 1)
    inside = shape(u, v, r).reshape(-1, _SIZE, _FINE, _SIZE, _FINE).sum((2, 4))[:, None]  # (n, 1, 32, 32) of 0 .. 4
    back = 24 + column[:, 3:6] % 96  # dark, (n, 3, 1, 1)
    front = 136 + column[:, 6:9] % 112  # bright
    shade = (column[:, 9:10] % 3 - 1) * (np.arange(_SIZE)[:, None] - _SIZE // 2)  # lighter or darker downwards
    mixed = (inside * front + (_FINE**2 - inside) * back) // _FINE**2 + shade
    return np.clip(mixed, 0, 255)
