"""What a variant of the ladder claims about quality, and the evidence for it.

Losses are compared on trained weights, since an untrained network forgives almost anything: on the shipped base, whose
scale is laptop. At other scales such a claim has no evidence, and its verdict stays inconclusive. An exact claim is
about the function, and is put to the test on whatever weights there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from course_utils.diffusion import Diffusion, Scale, baseline, heldout_loss, load_base, load_heldout
from course_utils.measure import Evidence, Record, load, same_denoiser, same_function
from course_utils.measure.precision import float32_arithmetic
from course_utils.measure.verdicts import Exactness
from course_utils.shipped import checksums
from course_utils.speedups import exactness_of, treat

__all__ = ["GATES", "Claim", "evidence_of", "retrained", "same_images", "trained_alike", "treated"]

GATES = Path(__file__).parents[2] / "results" / "reference" / "gates.jsonl"
EQUAL_STEPS = GATES.with_name("equal_steps.jsonl")

HELDOUT = 1_000
TRAINED_SCALE = "laptop"
CLOSE = {"rtol": 1e-3, "atol": 1e-4}
"""How far exact treatments of a whole network may be apart in float32: sums in another order, over some 60 layers."""


@dataclass(frozen=True)
class Claim:
    """`exactness` as a treatment's docstring says it; `evidence` is taken when it is asked for."""

    exactness: Exactness
    evidence: Callable[[], Sequence[Evidence]]


def treated(size: Scale, device: torch.device, *treatments: str) -> Claim:
    """The claim of a network under treatments that keep its weights."""
    exactness = exactness_of(treatments)
    if exactness == "exact":
        return Claim(exactness, lambda: [_same_network(size, device, treatments)])
    return Claim(exactness, lambda: _same_losses(size, device, treatments))


def trained_alike(size: Scale, device: torch.device, *treatments: str) -> Claim:
    """The claim of a way to train: exact ones by the function, others by the recorded runs of `equal_steps`.

    A run with the same treatments that are not exact speaks for these too: exact ones change the order of sums alone.
    """
    exactness = exactness_of(treatments)
    if exactness == "exact":
        return treated(size, device, *treatments)

    def recorded() -> list[Evidence]:
        told = [one for one in load(EQUAL_STEPS) if one.config["scale"] == size.name] if EQUAL_STEPS.exists() else []
        same = [one for one in told if one.config["treatments"] == list(treatments)]
        near = [one for one in told if _inexact(one.config["treatments"]) == _inexact(treatments)]
        return [evidence_of(one) for one in (same or near)[-1:]]

    return Claim(exactness, recorded)


def retrained(name: str, against: str = "base-25") -> Claim:
    """The claim of a shipped network that was trained anew: what its recorded gates found, for the present weights."""
    return Claim("retrained", lambda: [evidence_of(one) for one in _gates(name, against)])


def same_images(reference: Callable[[], Tensor], variant: Callable[[], Tensor]) -> Claim:
    """The claim of another way to draw the same images, in true float32."""

    def drawn() -> list[Evidence]:
        with float32_arithmetic():
            return [same_function(reference, variant, **CLOSE)]

    return Claim("exact", drawn)


def _inexact(treatments: Sequence[str]) -> list[str]:
    return [text for text in treatments if exactness_of([text]) != "exact"]


def _same_network(size: Scale, device: torch.device, treatments: Sequence[str]) -> Evidence:
    diffusion = _trained(size, device)
    generator = torch.Generator().manual_seed(1)
    x_t = torch.randn(8, 3, 32, 32, generator=generator).to(device)
    t = torch.arange(8, device=device) * 125
    with float32_arithmetic():
        return same_function(diffusion.model, treat(diffusion, *treatments).model.eval(), x_t, t, **CLOSE)


def _same_losses(size: Scale, device: torch.device, treatments: Sequence[str]) -> list[Evidence]:
    if size.name != TRAINED_SCALE:
        return []
    diffusion = _trained(size, device)
    return [same_denoiser(_losses(diffusion), _losses(treat(diffusion, *treatments)))]


def _trained(size: Scale, device: torch.device) -> Diffusion:
    """The shipped base at its scale, the untrained network at any other."""
    found = load_base(device=device) if size.name == TRAINED_SCALE else baseline(size).to(device)
    found.model.eval()
    return found


def _losses(diffusion: Diffusion) -> Tensor:
    return heldout_loss(diffusion, load_heldout().images, n=HELDOUT).per_image


def _gates(name: str, against: str) -> list[Record]:
    """The latest record of each gate between two shipped models as they are now."""
    here = checksums()
    weights = [here.get(f"{one}.safetensors") for one in (name, against)]
    if None in weights or not GATES.exists():
        return []
    judged = here.get("cifar-cnn.safetensors")
    found = [
        one
        for one in load(GATES)
        if one.kind.startswith("gate: ") and (one.config.get("weights"), one.config.get("sha256")) == (weights, judged)
    ]
    return list({one.kind: one for one in found}.values())


def evidence_of(gate: Record) -> Evidence:
    """The evidence that a record of a gate tells of."""
    told = gate.config
    kind = gate.kind.removeprefix("gate: ")
    low, high = (gate.value if bound is None else bound for bound in (gate.low, gate.high))
    power = {name: told.get(name) for name in ("detectable", "pass_probability", "needed", "seed_spread")}
    what, note = told.get("what", "variant / baseline"), f"Recorded: {told['command']}"
    return Evidence(kind, what, gate.value, low, high, told["tolerance"], gate.n or 0, note=note, **power)  # type: ignore[arg-type]
