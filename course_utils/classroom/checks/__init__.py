"""Visible checks, one an exercise: each prints its findings in plain words and returns what the lesson goes on with."""

from course_utils.classroom.checks.baseline import add_noise, training_loss
from course_utils.classroom.checks.bottlenecks import bottleneck_flop, inside, low_rank
from course_utils.classroom.checks.cluster import efficiency, job_body, job_head, request
from course_utils.classroom.checks.gpus import crossover, step_time, traffic
from course_utils.classroom.checks.im2col import conv_im2col, conv_loops, im2col_work
from course_utils.classroom.checks.layouts import break_even, run_quietly, strides
from course_utils.classroom.checks.parallel import shard, whole_gradient, worker
from course_utils.classroom.checks.precision import Halved, scaled_gradients, spacing
from course_utils.classroom.checks.profiles import conv_backward
from course_utils.classroom.checks.quality import decide, frechet
from course_utils.classroom.checks.rooflines import attainable, conv_work
from course_utils.classroom.checks.sampling_blocks import cadence, evaluation_share, one_block, stage_share
from course_utils.classroom.checks.scaling import fit_ring, ring_s, step_s
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
    "crossover",
    "decide",
    "efficiency",
    "evaluation_share",
    "fit_ring",
    "frechet",
    "im2col_work",
    "inside",
    "job_body",
    "job_head",
    "low_rank",
    "one_block",
    "request",
    "ring_s",
    "run_quietly",
    "scaled_gradients",
    "seconds_per_picture",
    "shard",
    "spacing",
    "stage_share",
    "step_s",
    "step_time",
    "strides",
    "suspects",
    "timer",
    "traffic",
    "training_loss",
    "whole_gain",
    "whole_gradient",
    "worker",
]
