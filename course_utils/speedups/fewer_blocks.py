"""Fewer blocks: a U-Net with fewer resolutions, or one block at each; and fewer pictures drawn while it trains.

Exactness: retrained

Halve the sides of a picture and double its channels: a convolution costs as many FLOP as before, has four times as many
weights, and the picture takes half the memory. So the inner stages of a U-Net hold most of the parameters, the outer
ones move most of the bytes. Which of them a model can spare is a question for training, not for arithmetic. Sources:
Ronneberger et al., U-Net (2015); Ho et al., Denoising Diffusion Probabilistic Models (2020).

A stage of the library's `Unet` is (block, block, attention, resampling); `downs` runs from the outside in, `ups` from
the inside out.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from course_utils.speedups.layout import refuse_compiled
from course_utils.speedups.replacement import carry_hooks, match

__all__ = ["Shortcut", "evaluation_share", "fewer_blocks"]


def fewer_blocks(model: nn.Module, stages: int | None = None, blocks: int | None = None) -> nn.Module:
    """Return a copy of the library's `Unet` with fewer stages, fewer blocks a stage, or both; it must be trained again.

    `stages` is how many resolutions to keep, from the outside: those stages keep their weights, and what lies between
    them (the middle, and the last convolution on the way down) is drawn anew from PyTorch's default generator. Where
    the innermost stage had full attention, as by the library's default, the new innermost one gets it too, and pays for
    its larger picture with the square of its pixels: a Unet with one stage left can cost more than with three.
    `blocks=1` leaves one of two blocks in each stage: of the second only the shortcut remains.

    Raises `ValueError` for another model, one that is compiled, whose middle has bottlenecks, or that has no more
    stages or blocks than wanted.
    """
    refuse_compiled(model, "fewer_blocks")
    treated = copy.deepcopy(model)
    unet = _unet(treated)
    _check(unet, stages, blocks)
    if stages is not None and stages < len(unet.downs):
        _keep_outer(unet, stages)
    if blocks is not None:
        for stage in (*unet.downs, *unet.ups):
            stage[1] = Shortcut(stage[1].res_conv).train(stage[1].training)
    return treated


class Shortcut(nn.Module):
    """What remains of a residual block without its convolutions: `res_conv`, the identity or a 1x1 convolution."""

    def __init__(self, res_conv: nn.Module) -> None:
        super().__init__()
        self.res_conv = res_conv

    def forward(self, x: Tensor, time_emb: Tensor | None = None) -> Tensor:
        """Map (N, C, H, W) to the channels that the block answered in; the time is not used."""
        out: Tensor = self.res_conv(x)
        return out


def evaluation_share(every: int, images: int, nfe: int, call_s: float, step_s: float) -> float:
    """Fraction of a training run's time that goes into drawing pictures, between 0 and 1.

    Every `every` steps `images` pictures are drawn with `nfe` model calls each; `call_s` is the time of one call for
    one picture, `step_s` that of a training step, in seconds or any one unit. The time to score the pictures is left
    out. Raises `ValueError` for a negative number, and where `every` or `step_s` is not above 0.
    """
    given = {"every": every, "images": images, "nfe": nfe, "call_s": call_s, "step_s": step_s}
    for name, value in given.items():
        if not value >= 0 or (name in ("every", "step_s") and value == 0):
            wanted = "above 0" if name in ("every", "step_s") else "at least 0"
            raise ValueError(f"{name} must be {wanted}, got {value!r}")
    drawing_s = images * nfe * call_s
    return drawing_s / (drawing_s + every * step_s)


def _unet(model: nn.Module) -> Any:
    """The library's U-Net within wrappers that call what they hold `module`."""
    from denoising_diffusion_pytorch import Unet  # imports accelerate: about a second

    inner = model
    while isinstance(held := getattr(inner, "module", None), nn.Module):
        inner = held
    if not isinstance(inner, Unet):
        raise ValueError(f"model must be the Unet of denoising-diffusion-pytorch, got a {type(inner).__name__}")
    return inner


def _check(unet: Any, stages: int | None, blocks: int | None) -> None:
    have = len(unet.downs)
    if stages is None and blocks is None:
        raise ValueError(f"give stages, fewer than the model's {have}, or blocks=1, or both: neither was given")
    most = have - 1 if blocks is None else have
    if stages is not None and (type(stages) is not int or not 1 <= stages <= most):
        wanted = f"from 1 to {most}" if most else "left out"
        raise ValueError(f"stages must be {wanted} for a model that has {have}, got {stages!r}")
    if blocks is not None and (type(blocks) is not int or blocks != 1):
        raise ValueError(f"blocks must be 1 or left out (the library's stages have 2), got {blocks!r}")
    if blocks is not None and any(isinstance(stage[1], Shortcut) for stage in unet.downs):
        raise ValueError("the model's stages have one block already: blocks=1 cannot be applied again")


def _keep_outer(unet: Any, stages: int) -> None:
    """Take the inner stages out, in place, and put a new middle between the outer ones."""
    innermost, down, up = unet.downs[-1], unet.downs[stages - 1], unet.ups[-stages]
    c_in, c_mid = _width(down[2]), _width(up[2])
    block: dict[str, Any] = {
        "time_emb_dim": unet.mid_block1.mlp[1].in_features,
        "dropout": unet.mid_block1.block1.dropout.p,
    }
    down[3] = _like(innermost[3], nn.Conv2d(c_in, c_mid, 3, padding=1))
    unet.mid_block1 = _like(unet.mid_block1, type(unet.mid_block1)(c_mid, c_mid, **block))
    unet.mid_block2 = _like(unet.mid_block2, type(unet.mid_block2)(c_mid, c_mid, **block))
    full = unet.mid_attn
    if isinstance(innermost[2], type(full)):
        for stage in (down, up):
            if not isinstance(stage[2], type(full)):
                stage[2] = _full_attention(full, stage[2], _width(stage[2]))
    unet.mid_attn = _full_attention(full, down[2], c_mid)
    unet.downs, unet.ups = unet.downs[:stages], unet.ups[-stages:]


def _full_attention(full: Any, attention: Any, channels: int) -> nn.Module:
    """New full attention over so many channels, like `full`, with the heads of a stage's own attention."""
    dim_head = attention.to_qkv.out_channels // (3 * attention.heads)
    made = type(full)(channels, heads=attention.heads, dim_head=dim_head, flash=full.attend.flash)
    return _like(full, made)


def _width(attention: Any) -> int:
    """Number of channels that an attention layer works on."""
    return int(attention.norm.g.shape[1])


def _like(old: nn.Module, new: nn.Module) -> nn.Module:
    """Treat `new` part by part as `old` has been treated (type, layout, hooks, im2col), and return it."""
    olds, news = dict(old.named_modules()), dict(new.named_modules())
    if olds.keys() != news.keys():
        raise ValueError("the middle of the model has bottlenecks: apply fewer_blocks(stages=...) before bottleneck")
    for name, part in news.items():
        match(part, olds[name])
        carry_hooks(olds[name], part, part)
        part.__class__ = type(olds[name])
    return new
