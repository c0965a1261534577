"""Every treatment by name: what it changes, how exact it is, and how a list of them is applied to the patient.

treat(diffusion, "half_precision", "layout")
treat(diffusion, "bottleneck(where=inside, reduction=2)")
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from course_utils.diffusion import Diffusion
from course_utils.speedups.bottleneck import bottleneck
from course_utils.speedups.fewer_blocks import fewer_blocks
from course_utils.speedups.half_precision import half_precision
from course_utils.speedups.im2col import im2col
from course_utils.speedups.layout import compiled, layout, refuse_compiled

__all__ = ["STRUCTURAL", "TREATMENTS", "Known", "exactness_of", "execution_only", "parse", "treat"]

Exactness = Literal["exact", "approximate", "retrained"]


@dataclass(frozen=True)
class Known:
    """A treatment: `kind` is structural (enters the recipe, needs its own weights) or execution (applied again after
    loading); `exactness` is exact, approximate or retrained; `apply` is (model, **params) -> new model."""

    name: str
    kind: str
    exactness: Exactness
    apply: Callable[..., nn.Module]


TREATMENTS = {
    known.name: known
    for known in (
        Known("half_precision", "execution", "approximate", half_precision),
        Known("im2col", "execution", "exact", im2col),
        Known("layout", "execution", "exact", layout),
        Known("bottleneck", "structural", "retrained", bottleneck),
        Known("fewer_blocks", "structural", "retrained", fewer_blocks),
        Known("compiled", "execution", "exact", compiled),
    )
}

STRUCTURAL = {name: known.apply for name, known in TREATMENTS.items() if known.kind == "structural"}

_WORDS = re.compile(r"(?P<name>\w+)(?:\((?P<params>.*)\))?", re.DOTALL)


def treat(diffusion: Diffusion, *treatments: str) -> Diffusion:
    """Apply treatments in the order given, each as text: `layout` or `half_precision(dtype=float16)`.

    Structural ones are written into the recipe. `compiled` comes last. Raises `ValueError` for one that is not known,
    or whose parameters are not, for one after `compiled`, and what the treatment itself raises.
    """
    for text in treatments:
        name, params = parse(text)
        known = TREATMENTS[name]
        refuse_compiled(diffusion.model, name)
        try:
            model = known.apply(diffusion.model, **params)
        except TypeError as error:
            raise ValueError(f"{text}: {error}") from error
        diffusion = diffusion.with_model(model, (name, params) if known.kind == "structural" else None)
    return diffusion


def execution_only(treatments: Iterable[str]) -> list[str]:
    """Those that a recipe does not hold, and that must be applied again after loading."""
    return [text for text in treatments if TREATMENTS[parse(text)[0]].kind == "execution"]


def exactness_of(treatments: Iterable[str]) -> Exactness:
    """The weakest claim among several treatments: retrained before approximate before exact."""
    claimed = {TREATMENTS[parse(text)[0]].exactness for text in treatments}
    order: tuple[Exactness, ...] = ("retrained", "approximate")
    return next((one for one in order if one in claimed), "exact")


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """Take `name(key=value, ...)` apart; values are Python literals, bare words, or lists of them, as JSON knows them.

    Raises `ValueError` for a name that is no treatment, or text of another form.
    """
    found = _WORDS.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no treatment: write its name, or name(key=value, ...)")
    if found["name"] not in TREATMENTS:
        raise ValueError(f"there is no treatment {found['name']!r}: use one of {', '.join(TREATMENTS)}")
    try:
        params = _params(found["params"] or "")
        json.dumps(params)
        return found["name"], params
    except (SyntaxError, TypeError, ValueError) as error:
        raise ValueError(f"{text!r} cannot be read ({error}): write name(key=value, ...)") from error


def _params(text: str) -> dict[str, Any]:
    """The parameters between the brackets of a call. Raises `ValueError` or `SyntaxError` for anything else."""
    call = ast.parse(f"f({text})", mode="eval").body
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise ValueError("there is more than one pair of brackets")
    if call.args or any(word.arg is None for word in call.keywords):
        raise ValueError("parameters need their names")
    params = {str(word.arg): _value(word.value) for word in call.keywords}
    if len(params) < len(call.keywords):
        raise ValueError("a parameter is given twice")
    return params


def _value(node: ast.expr) -> Any:
    """A literal, a bare word as text, or a list of them."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(one) for one in node.elts]
    return ast.literal_eval(node)
