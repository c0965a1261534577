"""The treatments: each takes a model, leaves it as it is, and returns a new one that is cheaper.

from course_utils.speedups import half_precision, layout
cheaper = layout(half_precision(model))
"""

from course_utils.speedups.bottleneck import bottleneck, bottleneck_flop
from course_utils.speedups.fewer_blocks import evaluation_share, fewer_blocks
from course_utils.speedups.half_precision import half_precision, loss_scaler, needs_loss_scaling
from course_utils.speedups.im2col import conv2d_loops, conv2d_unfold, im2col, im2col_bytes
from course_utils.speedups.layout import compiled, compiler, layout
from course_utils.speedups.parallel import data_parallel, distributed, replicated
from course_utils.speedups.ranges import range_report
from course_utils.speedups.registry import STRUCTURAL, TREATMENTS, exactness_of, execution_only, treat

__all__ = [
    "STRUCTURAL",
    "TREATMENTS",
    "bottleneck",
    "bottleneck_flop",
    "compiled",
    "compiler",
    "conv2d_loops",
    "conv2d_unfold",
    "data_parallel",
    "distributed",
    "evaluation_share",
    "exactness_of",
    "execution_only",
    "fewer_blocks",
    "half_precision",
    "im2col",
    "im2col_bytes",
    "layout",
    "loss_scaler",
    "needs_loss_scaling",
    "range_report",
    "replicated",
    "treat",
]
