"""Visible checks, one an exercise: each prints its findings in plain words and returns what the lesson goes on with."""

from course_utils.classroom.checks.baseline import add_noise, training_loss
from course_utils.classroom.checks.profiles import conv_backward
from course_utils.classroom.checks.quality import decide, frechet
from course_utils.classroom.checks.rooflines import attainable, conv_work
from course_utils.classroom.checks.start import seconds_per_picture
from course_utils.classroom.checks.timings import suspects, timer

__all__ = [
    "add_noise",
    "attainable",
    "conv_backward",
    "conv_work",
    "decide",
    "frechet",
    "seconds_per_picture",
    "suspects",
    "timer",
    "training_loss",
]
