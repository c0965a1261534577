"""Visible checks of 13_fewer_blocks. Shape legend: N images, C channels, H x W pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.classroom.checks.framework import Report, exercise
from course_utils.diffusion import Recipe, build
from course_utils.speedups import evaluation_share as kit_evaluation_share
from course_utils.speedups import fewer_blocks

__all__ = ["cadence", "evaluation_share", "one_block", "stage_share"]


def kit_stage_share(costs: Mapping[str, float], stages: int) -> list[float]:
    """Each stage's part of the sum, from the outside in."""
    shares, total = [0.0] * stages, sum(costs.values())
    for name, cost in costs.items():
        side, _, rest = name.partition(".")
        if side in ("downs", "ups"):
            place = int(rest.split(".")[0])
            stage = place if side == "downs" else stages - 1 - place
        else:
            stage = stages - 1 if side.startswith("mid_") else 0
        shares[stage] += cost / total
    return shares


def kit_one_block(unet: nn.Module) -> nn.Module:
    """A copy with one block a stage."""
    return fewer_blocks(unet, blocks=1)


def kit_cadence(most: float, images: int, nfe: int, call_s: float, step_s: float) -> int:
    """The least whole number of steps between two evaluations with which they take at most a share of `most`."""
    return math.ceil(images * nfe * call_s * (1 - most) / (most * step_s))


@exercise(own=kit_stage_share)
def stage_share(answer: Callable[[Mapping[str, float], int], list[float]], report: Report) -> None:
    """Check `stage_share(costs, stages)` on hand sums."""
    for what, costs, wanted, hint in (
        ("the way down", {"downs.0.0": 6, "downs.1.2": 2}, [0.75, 0.25], "the number after downs is the stage"),
        ("the way up", {"ups.0.1": 3, "ups.1.3": 1}, [0.25, 0.75], "`ups.0` is the innermost stage"),
        ("the middle", {"downs.0.0": 3, "mid_attn": 2, "mid_block1": 1}, [0.5, 0, 0.5], "it is the innermost's"),
        (
            "what is left",
            {"init_conv": 2, "time_mlp": 1, "downs.1.0": 2, "final_conv": 2, "(between blocks)": 1},
            [0.75, 0.25],
            "the rest is the outermost stage's",
        ),
        (
            "all together",
            {"init_conv": 1, "downs.0.3": 2, "downs.2.0": 4, "mid_block2": 5, "ups.0.0": 6, "ups.1.0": 1, "ups.2.1": 1},
            [0.2, 0.05, 0.75],
            "shares of the whole sum",
        ),
    ):
        names = tuple(f"the share of stage {stage}" for stage in range(len(wanted)))
        got = report.call_for(names, answer, costs, len(wanted))
        for stage, (share, right) in enumerate(zip(got, wanted, strict=True)):
            if not report.close(f"{what}, stage {stage}", share, right, hint=hint):
                return


@exercise(own=kit_one_block)
def one_block(answer: Callable[[nn.Module], nn.Module], report: Report) -> None:
    """Check `one_block(unet)` against a U-Net whose second blocks are skipped while it runs, by hooks."""
    unet = small_unet()
    full = parameters(unet)
    got = report.call(answer, unet)
    if not report.expect(isinstance(got, nn.Module), "a module", f"return the copy, not {type(got).__name__}"):
        return
    alone = got is not unet and parameters(unet) == full and shared(got, unet) == 0
    if not report.expect(alone, "the U-Net itself is untouched", "the U-Net itself was changed: work on a deep copy"):
        return
    hint = "of the second block of each stage, in `downs` and in `ups`, only `res_conv` stays"
    if report.close(
        "parameters", parameters(got), full - sum(spared(stage[1]) for stage in stages_of(unet)), hint=hint
    ):
        x, t = torch.linspace(-1, 1, 2 * 3 * 16).reshape(2, 3, 4, 4), torch.tensor([3, 900])
        with torch.no_grad():
            report.close("its answer", report.call(got, x, t), skipping(unet, x, t), rtol=1e-4, atol=1e-5, hint=hint)


@exercise(own=kit_evaluation_share)
def evaluation_share(answer: Callable[..., float], report: Report) -> None:
    """Check `evaluation_share(every, images, nfe, call_s, step_s)` on hand counts."""
    for what, arguments, wanted, hint in (
        ("as long as the training", (30, 5, 2, 3.0, 1.0), 0.5, "a part of the whole, not of the training"),
        ("no pictures", (10, 0, 50, 1.0, 1.0), 0.0, "nothing drawn takes no time"),
        ("three quarters", (4, 3, 8, 0.5, 1.0), 0.75, "images x nfe calls in each evaluation"),
        ("seldom", (12, 2, 2, 0.25, 0.75), 0.1, "`every` steps lie between two evaluations"),
    ):
        if not report.close(what, report.call(answer, *arguments), wanted, hint=hint):
            return


@exercise(own=kit_cadence)
def cadence(answer: Callable[..., int], report: Report) -> None:
    """Check `cadence(most, images, nfe, call_s, step_s)` on hand counts."""
    for what, arguments, wanted, hint in (
        ("half of the time", (0.5, 3, 4, 1.0, 2.0), 6, "set the share equal to `most` and solve for `every`"),
        ("a fifth", (0.2, 10, 3, 0.5, 4.2), 15, "60 / 4.2 is 14.3 steps, and 14 are too few: round up"),
        ("seldom", (0.05, 7, 11, 0.3, 1.7), 259, "the training takes 1 - `most` of the whole"),
    ):
        if not report.close(what, report.call(answer, *arguments), wanted, rtol=0, atol=1e-9, hint=hint):
            return


def small_unet() -> Any:
    """A little U-Net of two stages, always with the same weights; images are (N, 3, H, W)."""
    process = {"objective": "pred_v", "beta_schedule": "sigmoid", "num_timesteps": 1000}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(13)
        return build(Recipe({"dim": 8, "dim_mults": [1, 2]}, process)).model.eval()


def stages_of(unet: Any) -> list[Any]:
    """Its stages, those of the way down and those of the way up."""
    return [*unet.downs, *unet.ups]


def parameters(module: nn.Module) -> int:
    """How many parameters it has."""
    return sum(weight.numel() for weight in module.parameters())


def spared(block: Any) -> int:
    """How many parameters go with a block of which the shortcut stays."""
    return parameters(block) - parameters(block.res_conv)


def shared(one: nn.Module, other: nn.Module) -> int:
    """How many tensors of weights two modules have in common."""
    return len(
        {weight.data_ptr() for weight in one.parameters()} & {weight.data_ptr() for weight in other.parameters()}
    )


def skipping(unet: Any, x: Tensor, t: Tensor) -> Tensor:
    """What the U-Net answers if its second blocks answer with their shortcut, (N, 3, H, W)."""
    hooks = [
        stage[1].register_forward_hook(lambda block, inputs, _: block.res_conv(inputs[0])) for stage in stages_of(unet)
    ]
    try:
        answer: Tensor = unet(x, t)
    finally:
        for hook in hooks:
            hook.remove()
    return answer
