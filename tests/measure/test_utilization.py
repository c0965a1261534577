"""Cores busy against work that is known to use CPU time; GPUs through a stand-in for the driver."""

import multiprocessing
import os
import time
from types import SimpleNamespace

import pytest

from course_utils.measure import cores_granted, utilization
from course_utils.measure.cores import _quota
from course_utils.measure.gpus import gpu_states, gpus
from course_utils.measure.utilization import Utilization


def burn(cpu_s):
    """Use `cpu_s` seconds of CPU time in this thread, however long that takes."""
    end = time.thread_time() + cpu_s
    while time.thread_time() < end:
        pass


def test_sleep_is_not_work():
    with utilization() as used:
        time.sleep(0.3)
    assert used.wall_s >= 0.3
    assert used.cpu_s < 0.15


def test_own_cpu_time_counts():
    with utilization() as used:
        burn(0.3)
    assert 0.28 <= used.cpu_s <= 0.5
    assert used.cores_busy == pytest.approx(used.cpu_s / used.wall_s / cores_granted())


def test_cpu_time_of_children_counts_once_finished_or_alive():
    fork = multiprocessing.get_context("fork")
    early = fork.Process(target=burn, args=(0.2,))
    early.start()
    early_alive = fork.Process(target=time.sleep, args=(5,))
    early_alive.start()
    time.sleep(0.1)
    with utilization() as used:
        child = fork.Process(target=burn, args=(0.3,))
        child.start()
        child.join()
        early.join()
    early_alive.terminate()
    early_alive.join()
    assert 0.28 <= used.cpu_s <= 0.75


def test_fraction_and_table_of_known_values():
    used = Utilization(4, 2.0, 6.0, (0.5, None), (300.0, None), (2**30, None))
    assert used.cores_busy == 0.75
    text = str(used)
    assert "75%" in text
    assert "300 W" in text
    assert "1.00 GiB" in text
    assert "3.00 cores busy" in text
    assert Utilization(1).cores_busy == 0.0


class FakeNvml:
    """As much of pynvml as the instruments use, with two cards; card 1 tells neither power nor clock."""

    NVML_CLOCK_SM = 1

    class NVMLError(Exception):
        """What pynvml raises."""

    def __init__(self):
        self.looks = 0

    def nvmlInit(self):
        pass

    def nvmlDeviceGetCount(self):
        return 2

    def nvmlDeviceGetHandleByIndex(self, index):
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid):
        if uuid != "GPU-b":
            raise self.NVMLError
        return 1

    def nvmlDeviceGetUtilizationRates(self, handle):
        self.looks += 1
        return SimpleNamespace(gpu=80 if handle == 0 else 0)

    def nvmlDeviceGetPowerUsage(self, handle):
        if handle == 1:
            raise self.NVMLError
        return 250_000

    def nvmlDeviceGetMemoryInfo(self, handle):
        return SimpleNamespace(used=1000 + self.looks)

    def nvmlDeviceGetName(self, handle):
        return b"Card"

    def nvmlDeviceGetClockInfo(self, handle, which):
        if handle == 1:
            raise self.NVMLError
        return 1980

    def nvmlSystemGetDriverVersion(self):
        return "580.1"


def test_gpus_are_sampled_one_by_one(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    nvml = FakeNvml()
    with utilization(interval_s=0.001, nvml=nvml) as used:
        while nvml.looks < 10:
            time.sleep(0.001)
    assert used.gpu_busy == (pytest.approx(0.8), 0.0)
    assert used.power_w == (250.0, None)
    assert min(used.gpu_memory_bytes) >= 1009  # the largest seen, not the first
    assert "GPU 1" in str(used)


@pytest.mark.parametrize(
    ("visible", "handles"),
    [(None, [0, 1]), ("1,0", [1, 0]), ("GPU-b", [1]), ("GPU-,1", [None, 1]), ("", []), ("-1", [])],
)
def test_only_visible_gpus_are_watched_in_cudas_order(monkeypatch, visible, handles):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus(FakeNvml()) == handles


def test_what_a_driver_does_not_tell_is_none():
    full, poor = gpu_states([0, 1], FakeNvml())
    assert (full.name, full.busy, full.power_w, full.clock_mhz, full.driver) == ("Card", 0.8, 250.0, 1980, "580.1")
    assert (poor.power_w, poor.clock_mhz) == (None, None)
    (lost,) = gpu_states([None], FakeNvml())
    assert (lost.name, lost.busy, lost.memory_bytes, lost.driver) == ("unknown", None, None, "580.1")


def test_no_driver_means_no_gpus():
    class NoDriver(FakeNvml):
        def nvmlInit(self):
            raise self.NVMLError

    assert gpus(NoDriver()) == []


def test_cores_granted_is_within_the_affinity():
    assert 1 <= cores_granted() <= (os.cpu_count() or 1)


def test_cores_granted_follow_the_affinity(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    assert cores_granted() == 1


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("0::/job/step\n", {"job/step/cpu.max": "max 100000", "job/cpu.max": "150000 100000"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000"}, None),
        ("4:cpu,cpuacct:/job\n", {"cpu/job/cpu.cfs_quota_us": "400000", "cpu/job/cpu.cfs_period_us": "100000"}, 4.0),
        ("4:cpu:/job\n", {"cpu/job/cpu.cfs_quota_us": "-1", "cpu/job/cpu.cfs_period_us": "100000"}, None),
        ("9:memory:/job\n", {"job/cpu.max": "100000 100000"}, None),
        (None, {}, None),
    ],
)
def test_quota_of_both_control_group_versions(tmp_path, own, files, quota):
    for name, text in files.items():
        file = tmp_path / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    if own is not None:
        (tmp_path / "own").write_text(own)
    assert _quota(tmp_path / "cgroup", tmp_path / "own") == quota
