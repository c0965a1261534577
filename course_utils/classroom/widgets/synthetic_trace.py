"""A made-up trace of a GPU, for lessons on machines without one: a host that launches, a device that runs in order.

Nothing in it was measured. `python -m course_utils.classroom.widgets.synthetic_trace` writes the shipped file anew.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from course_utils.atomic import replacing

__all__ = ["SHIPPED", "synthetic_trace"]

SHIPPED = Path(__file__).parent / "traces" / "synthetic-gpu.json.gz"
TITLE = "Synthetic trace of a GPU: made up, not measured"
KERNELS = (  # operator, its kernel, how long it runs at batch 16 in units of `kernel_us`
    ("aten::conv2d", "conv3x3_fprop_tf32", 2.5),
    ("aten::mul", "elementwise_mul", 0.4),
    ("aten::add", "elementwise_add", 0.4),
    ("aten::silu", "elementwise_silu", 0.4),
    ("aten::linalg_vector_norm", "reduce_norm", 0.6),
    ("aten::bmm", "gemm_attention", 1.2),
)
HOST, STREAM = 1, 7


def synthetic_trace(
    *, steps: int = 3, kernels: int = 120, launch_us: float = 6.0, kernel_us: float = 4.0, gap_us: float = 60.0
) -> dict[str, Any]:
    """A Chrome trace of training steps on a GPU that never existed: the host asks for a kernel every `launch_us`.

    Kernels run in order, each as soon as it was asked for and the one before is done; between two steps the host waits
    for the device and then does `gap_us` of Python. With `kernel_us` well above `launch_us` the device is never dry.
    """
    events: list[dict[str, Any]] = [
        _named("process_name", 0, 0, "GPU 0, synthetic"),
        _named("thread_name", HOST, HOST, "thread 1 (python, synthetic)"),
    ]
    host_us = free_us = 0.0
    for step in range(steps):
        begin_us = host_us
        for index in range(kernels):
            operator, kernel, size = KERNELS[index % len(KERNELS)]
            number = step * kernels + index
            events.append(_event("cpu_op", operator, HOST, HOST, host_us, launch_us))
            asked = host_us + 0.75 * launch_us
            call = _event("cuda_runtime", "cudaLaunchKernel", HOST, HOST, asked - 0.25 * launch_us, 0.25 * launch_us)
            events.append(call | {"args": {"correlation": number}})
            start = max(asked, free_us)
            free_us = start + size * kernel_us
            run = _event("kernel", kernel, 0, STREAM, start, size * kernel_us)
            events.append(run | {"args": {"correlation": number, "stream": STREAM, "device": 0}})
            host_us += launch_us
        end_us = max(host_us, free_us)
        events.append(_event("user_annotation", f"step {step}", HOST, HOST, begin_us, end_us - begin_us))
        host_us = end_us + gap_us
    made = {"steps": steps, "kernels": kernels, "launch_us": launch_us, "kernel_us": kernel_us, "gap_us": gap_us}
    return {"title": TITLE, "manifest": {"synthetic": True, "made_by": made}, "traceEvents": events}


def write(path: Path = SHIPPED) -> Path:
    """Write the shipped file: small kernels, so that the device runs dry."""
    with replacing(path) as temporary:
        text = json.dumps(synthetic_trace(), separators=(",", ":"))
        temporary.write_bytes(gzip.compress(text.encode(), mtime=0))
    return path


def _event(category: str, name: str, pid: int, tid: int, start_us: float, length_us: float) -> dict[str, Any]:
    times = {"ts": round(start_us, 3), "dur": round(length_us, 3)}
    return {"ph": "X", "cat": category, "name": name, "pid": pid, "tid": tid} | times


def _named(what: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "args": {"name": name}}


if __name__ == "__main__":
    print(write())
