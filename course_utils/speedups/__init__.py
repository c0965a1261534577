"""The treatments: each takes a model, leaves it as it is, and returns a new one that is cheaper.

from course_utils.speedups import half_precision, layout
cheaper = layout(half_precision(model))
"""

from course_utils.speedups.half_precision import half_precision
from course_utils.speedups.layout import compiled, layout
from course_utils.speedups.registry import STRUCTURAL, TREATMENTS, execution_only, treat

__all__ = ["STRUCTURAL", "TREATMENTS", "compiled", "execution_only", "half_precision", "layout", "treat"]
