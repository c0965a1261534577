"""Visible checks, one an exercise: each prints its findings in plain words and returns what the lesson goes on with."""

from course_utils.classroom.checks.baseline import add_noise, training_loss
from course_utils.classroom.checks.bottlenecks import bottleneck_flop, inside, low_rank
from course_utils.classroom.checks.im2col import conv_im2col, conv_loops, im2col_work
from course_utils.classroom.checks.layouts import break_even, run_quietly, strides
from course_utils.classroom.checks.precision import Halved, scaled_gradients, spacing
from course_utils.classroom.checks.profiles import conv_backward
from course_utils.classroom.checks.quality import decide, frechet
from course_utils.classroom.checks.rooflines import attainable, conv_work
from course_utils.classroom.checks.sampling_blocks import cadence, evaluation_share, one_block, stage_share
from course_utils.classroom.checks.start import seconds_per_picture
from course_utils.classroom.checks.timings import suspects, timer
from course_utils.classroom.checks.together import best, whole_gain

__all__ = [
    "Halved",
    "add_noise",
    "attainable",
    "best",
    "bottleneck_flop",
    "break_even",
    "cadence",
    "conv_backward",
    "conv_im2col",
    "conv_loops",
    "conv_work",
    "decide",
    "evaluation_share",
    "frechet",
    "im2col_work",
    "inside",
    "low_rank",
    "one_block",
    "run_quietly",
    "scaled_gradients",
    "seconds_per_picture",
    "spacing",
    "stage_share",
    "strides",
    "suspects",
    "timer",
    "training_loss",
    "whole_gain",
]
