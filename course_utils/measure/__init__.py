"""The instruments: turn a callable, tensors or images into a number with a unit."""

import os

# torch.profiler's library prints to stderr whenever it starts and stops, unless told otherwise before its first use.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

from course_utils.measure.blocks import blocks
from course_utils.measure.ceilings import Ceilings, calibrate
from course_utils.measure.collectives import LINKS, Forecast, Link, Messages, fit_link, forecast
from course_utils.measure.comparison import Comparison, Ratio, Variant, compare, largest_difference
from course_utils.measure.cores import cores_granted
from course_utils.measure.gradient_noise import critical_batch, useful_share
from course_utils.measure.hardware import DATASHEETS, Datasheet, Device, detect
from course_utils.measure.manifests import manifest
from course_utils.measure.memory import Memory, peak_memory
from course_utils.measure.precision import float32_arithmetic
from course_utils.measure.profilers import LineProfile, ProfilerOverhead, line_profile, profiler_overhead
from course_utils.measure.profiling import Profile, profile
from course_utils.measure.quality import (
    Evidence,
    cifar_cnn,
    extract,
    frechet_distance,
    inception,
    kernel_distance,
    reference,
    same_denoiser,
    same_distribution,
    same_function,
    same_pictures,
)
from course_utils.measure.records import Record, incompatible, load, record, same_under_two_names
from course_utils.measure.regions import RegionTimes, collect_regions, region, region_overhead
from course_utils.measure.tables import Table
from course_utils.measure.timing import Timing, measure
from course_utils.measure.tracing import Trace, trace
from course_utils.measure.utilization import Utilization, utilization
from course_utils.measure.verdicts import Verdict, verdict
from course_utils.measure.work import Work, count

__all__ = [
    "DATASHEETS",
    "LINKS",
    "Ceilings",
    "Comparison",
    "Datasheet",
    "Device",
    "Evidence",
    "Forecast",
    "LineProfile",
    "Link",
    "Memory",
    "Messages",
    "Profile",
    "ProfilerOverhead",
    "Ratio",
    "Record",
    "RegionTimes",
    "Table",
    "Timing",
    "Trace",
    "Utilization",
    "Variant",
    "Verdict",
    "Work",
    "blocks",
    "calibrate",
    "cifar_cnn",
    "collect_regions",
    "compare",
    "cores_granted",
    "count",
    "critical_batch",
    "detect",
    "extract",
    "fit_link",
    "float32_arithmetic",
    "forecast",
    "frechet_distance",
    "inception",
    "incompatible",
    "kernel_distance",
    "largest_difference",
    "line_profile",
    "load",
    "manifest",
    "measure",
    "peak_memory",
    "profile",
    "profiler_overhead",
    "record",
    "reference",
    "region",
    "region_overhead",
    "same_denoiser",
    "same_distribution",
    "same_function",
    "same_pictures",
    "same_under_two_names",
    "trace",
    "useful_share",
    "utilization",
    "verdict",
]
