"""Every treatment by name: what it changes, how exact it is, and how a list of them is applied to the patient.

treat(diffusion, "half_precision", "layout")
treat(diffusion, "bottleneck(where=inside, reduction=2)")
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from course_utils.diffusion import Diffusion
from course_utils.speedups.half_precision import half_precision
from course_utils.speedups.layout import compiled, layout

__all__ = ["STRUCTURAL", "TREATMENTS", "Known", "execution_only", "parse", "treat"]


@dataclass(frozen=True)
class Known:
    """A treatment: `kind` is structural (enters the recipe, needs its own weights) or execution (applied again after
    loading); `exactness` is exact, approximate or retrained; `apply` is (model, **params) -> new model."""

    name: str
    kind: str
    exactness: str
    apply: Callable[..., nn.Module]


TREATMENTS = {
    known.name: known
    for known in (
        Known("half_precision", "execution", "approximate", half_precision),
        Known("layout", "execution", "exact", layout),
        Known("compiled", "execution", "exact", compiled),
    )
}

STRUCTURAL = {name: known.apply for name, known in TREATMENTS.items() if known.kind == "structural"}

_WORDS = re.compile(r"(?P<name>\w+)(?:\((?P<params>.*)\))?", re.DOTALL)


def treat(diffusion: Diffusion, *treatments: str) -> Diffusion:
    """Apply treatments in the order given, each as text: `layout` or `half_precision(dtype=float16)`.

    Structural ones are written into the recipe. Raises `ValueError` for one that is not known, or whose parameters are
    not, and what the treatment itself raises.
    """
    for text in treatments:
        name, params = parse(text)
        known = TREATMENTS[name]
        try:
            model = known.apply(diffusion.model, **params)
        except TypeError as error:
            raise ValueError(f"{text}: {error}") from error
        diffusion = diffusion.with_model(model, (name, params) if known.kind == "structural" else None)
    return diffusion


def execution_only(treatments: Iterable[str]) -> list[str]:
    """Those that a recipe does not hold, and that must be applied again after loading."""
    return [text for text in treatments if TREATMENTS[parse(text)[0]].kind == "execution"]


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """Take `name(key=value, ...)` apart; values are Python literals or bare words.

    Raises `ValueError` for a name that is no treatment, or text of another form.
    """
    found = _WORDS.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no treatment: write its name, or name(key=value, ...)")
    if found["name"] not in TREATMENTS:
        raise ValueError(f"there is no treatment {found['name']!r}: use one of {', '.join(TREATMENTS)}")
    try:
        call = ast.parse(f"f({found['params'] or ''})", mode="eval").body
        assert isinstance(call, ast.Call)
        if call.args:
            raise ValueError("parameters need their names")
        return found["name"], {str(word.arg): _value(word.value) for word in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{text!r} cannot be read ({error}): write name(key=value, ...)") from error


def _value(node: ast.expr) -> Any:
    return node.id if isinstance(node, ast.Name) and node.id not in ("None", "True") else ast.literal_eval(node)
