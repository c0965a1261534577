"""Ceilings: known rates from a rigged clock, the cache, and the real (rough) measurement's own consistency."""

import json

import pytest
import torch
import torch.utils.flop_counter

from course_utils.measure import ceilings as module
from course_utils.measure.ceilings import Ceilings, attainable, calibrate
from course_utils.measure.hardware import Device, detect
from course_utils.measure.timing import Stopwatch


@pytest.fixture
def smoke(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_SCALE", "smoke")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def device(**changes):
    known = {"name": "Tesla T4", "kind": "cuda", "cores": 2, "threads": 2, "memory_bytes": 16 * 10**9,
             "cache_bytes": 4 * 2**20, "l2_bytes": 4 * 2**20, "fast_dtypes": ("fp32", "fp16")}  # fmt: skip
    return Device(**(known | changes))


class Clock:
    """Advances only when an operation says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_the_best_round_counts():
    clock, durations = Clock(), iter([9.0, 5.0, 4.0, 7.0, 6.0, 8.0] * 1000)

    def run():
        clock.now += next(durations)

    assert module._best_s(run, Stopwatch(clock, lambda: None), budget_s=100.0) == 4.0


def test_matrix_rates_divide_2_n_cubed_by_the_time(monkeypatch):
    monkeypatch.setattr(module, "_best_s", lambda run, watch, budget_s: 1e-3)
    rate = module._matrix_rate("fp32", [16, 32], torch.device("cpu"), None, 0.1, {})
    assert rate == 2 * 32**3 / 1e-3


def test_a_convolution_may_come_higher_than_a_matrix_product(monkeypatch):
    ran = []

    def best_s(run, watch, budget_s):
        ran.append(run)
        return 1e-3

    monkeypatch.setattr(module, "_best_s", best_s)
    rate = module._convolution_rate("fp32", device(kind="cpu"), torch.device("cpu"), None, 0.1, rough=True)
    with torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
        ran[0]()
    assert rate == pytest.approx(counter.get_total_flops() / 1e-3)
    monkeypatch.setattr(module, "_matrix_rate", lambda *_: 1e9)
    tried = module._arithmetic(device(kind="cpu"), torch.device("cpu"), None, 0.1, rough=True)
    assert tried["fp32"] == {"matrix product": 1e9, "convolution": rate}


def test_stream_rates_count_reads_and_writes(monkeypatch):
    monkeypatch.setattr(module, "_best_s", lambda run, watch, budget_s: 1e-3)
    assert module._stream_rate([12_000], torch.device("cpu"), None, 0.1) == 12_000 / 1e-3


def test_a_hopeless_dtype_is_not_tried_on_larger_matrices(monkeypatch):
    asked = []
    monkeypatch.setattr(module, "_best_s", lambda run, watch, budget_s: asked.append(run) or 1.0)
    module._matrix_rate("fp16", [8, 16, 32], torch.device("cpu"), None, 0.1, {"fp32": 1e12})
    assert len(asked) == 1


def test_ridge_and_table_beside_the_datasheet():
    measured = Ceilings(device(), {"fp32": 4.05e12, "fp16": 26e12}, 256e9, 1e12, 5e-6)
    assert measured.ridge() == 4.05e12 / 256e9
    assert measured.ridge("fp16") == 26e12 / 256e9
    text = str(measured)
    assert "50%" in text
    assert "80%" in text
    assert "T4: NVIDIA T4" in text
    with pytest.raises(ValueError, match="dtype is 'bf16'"):
        measured.ridge("bf16")


def test_an_unknown_device_is_said():
    measured = Ceilings(device(name="Some GPU 9000"), {"fp32": 1e12}, 1e11, 1e12, 5e-6)
    assert "unknown device" in str(measured)


def test_smoke_calibration_is_measured_once_and_recalled(smoke, monkeypatch):
    first = calibrate("cpu")
    assert first.rough
    assert {"fp32", "bf16", "fp16"} == set(first.flop_per_s)
    assert all(rate > 0 for rate in (*first.flop_per_s.values(), first.bytes_per_s, first.launch_s))
    monkeypatch.setattr(module, "_measured", lambda *_: pytest.fail("measured again"))
    assert calibrate("cpu") == first
    assert calibrate(detect("cpu")) == first
    assert [path.suffix for path in smoke.iterdir()] == [".json"]


def test_refresh_other_threads_and_broken_files_measure_again(smoke, monkeypatch):
    runs = []

    def measured(found, place, rough):
        runs.append(found.threads)
        return Ceilings(found, {"fp32": 1e9}, 1e9, 1e9, 1e-6, rough)

    monkeypatch.setattr(module, "_measured", measured)
    calibrate("cpu")
    calibrate("cpu", refresh=True)
    (kept,) = smoke.iterdir()
    kept.write_text(kept.read_text()[:20])
    calibrate("cpu")
    assert json.loads(kept.read_text())["bytes_per_s"] == 1e9
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    calibrate("cpu")
    assert len(runs) == 4
    assert runs[-1] == 77
    assert len(list(smoke.iterdir())) == 2


def test_the_fp32_roof_is_not_that_of_tf32_convolutions():
    assert torch.backends.cudnn.conv.fp32_precision == "tf32"  # torch's default, on every GPU that has it
    with module.float32_arithmetic(tf32=False):
        assert torch.backends.cudnn.conv.fp32_precision == "ieee"
    assert torch.backends.cudnn.conv.fp32_precision == "tf32"


def test_a_gpu_is_asked_only_for_what_it_has_units_for():
    assert module._dtypes(device()) == ["fp32", "fp16"]
    modern = device(fast_dtypes=("fp32", "fp16", "int8", "tf32", "bf16"))
    assert module._dtypes(modern) == ["fp32", "tf32", "bf16", "fp16"]
    assert module._dtypes(device(kind="cpu", fast_dtypes=("fp32",))) == ["fp32", "bf16", "fp16"]


def test_working_sets_fit_or_do_not():
    found = device()
    assert all(size <= found.cache_bytes // 2 for size in module._cache_sizes(found))
    assert all(size >= 8 * found.cache_bytes for size in module._memory_sizes(found, False))
    assert module._memory_sizes(device(memory_bytes=2**28), False) == [2**25]


def test_profilers_are_refused(smoke):
    with torch.profiler.profile(), pytest.raises(RuntimeError, match="calibrate refuses"):
        calibrate("cpu", refresh=True)


def test_what_was_measured_beside_busy_programs_says_so_and_is_not_kept(tmp_path, monkeypatch):
    from contextlib import contextmanager
    from types import SimpleNamespace

    monkeypatch.delenv("COURSE_SCALE", raising=False)
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(
        module, "_measured", lambda found, place, rough: Ceilings(found, {"fp32": 1e9}, 1e9, 1e9, 1e-6, rough)
    )
    share = 0.0

    @contextmanager
    def utilization():
        device = detect("cpu")
        yield SimpleNamespace(wall_s=10.0, cpu_s=10.0 * share * min(device.threads, device.cores))

    monkeypatch.setattr(module, "utilization", utilization)
    share = 0.6
    disturbed = calibrate("cpu")
    assert disturbed.disturbed
    assert "other programs took 40% of the time" in str(disturbed)
    assert not list(tmp_path.iterdir())
    share = 0.95
    assert not calibrate("cpu").disturbed
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(("intensity", "rate"), [(0.5, 25e9), (4.0, 200e9), (1000.0, 200e9)])
def test_attainable_is_the_lower_roof(intensity, rate):
    assert attainable(intensity, 200e9, 50e9) == rate
