"""Whether what an answer made a hidden check print agrees with what the reference solution made it print.

Words agree exactly, whole numbers exactly, numbers with a decimal point within one unit of the last place that the
reference shows or 0.1 %, whichever is larger.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

__all__ = ["agree", "lines_agree"]

RELATIVE = 1e-3
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.])")


def agree(got: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether two prints agree, line by line."""
    return len(got) == len(wanted) and all(map(lines_agree, got, wanted))


def lines_agree(got: str, wanted: str) -> bool:
    """Whether two lines have the same words between the same numbers; blanks count as one, at the end as none."""
    words = [" ".join(text.split()) for text in _NUMBER.split(got)]
    if words != [" ".join(text.split()) for text in _NUMBER.split(wanted)]:
        return False
    return all(map(_numbers_agree, _NUMBER.findall(got), _NUMBER.findall(wanted)))


def _numbers_agree(got: str, wanted: str) -> bool:
    try:
        value, right = Decimal(got), Decimal(wanted)
    except InvalidOperation:  # an exponent beyond all bounds
        return False
    if wanted.lstrip("+-").isdigit():
        return value == right
    unit = 10.0 ** int(right.as_tuple().exponent) if "." in wanted else 0.0
    allowed = max(unit, RELATIVE * abs(float(right)))
    return abs(float(value) - float(right)) <= allowed * (1 + 1e-9)
