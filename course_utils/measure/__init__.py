"""The instruments: turn a callable, tensors or images into a number with a unit."""

import os

os.environ.setdefault(
    "KINETO_LOG_LEVEL", "99"
)  # torch.profiler's library prints to stderr whenever it starts and stops

from course_utils.measure.comparison import Comparison, Ratio, Variant, compare, largest_difference  # noqa: E402
from course_utils.measure.cores import cores_granted  # noqa: E402
from course_utils.measure.manifests import manifest  # noqa: E402
from course_utils.measure.memory import Memory, peak_memory  # noqa: E402
from course_utils.measure.records import Record, incompatible, load, record, same_under_two_names  # noqa: E402
from course_utils.measure.regions import RegionTimes, collect_regions, region, region_overhead  # noqa: E402
from course_utils.measure.tables import Table  # noqa: E402
from course_utils.measure.timing import Timing, measure  # noqa: E402
from course_utils.measure.utilization import Utilization, utilization  # noqa: E402

__all__ = [
    "Comparison",
    "Memory",
    "Ratio",
    "Record",
    "RegionTimes",
    "Table",
    "Timing",
    "Utilization",
    "Variant",
    "collect_regions",
    "compare",
    "cores_granted",
    "incompatible",
    "largest_difference",
    "load",
    "manifest",
    "measure",
    "peak_memory",
    "record",
    "region",
    "region_overhead",
    "same_under_two_names",
    "utilization",
]
