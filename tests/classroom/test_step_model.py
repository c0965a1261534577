"""The step on paper: counts agree with counts of real runs, limits with data sheets, and records stay what they are."""

import json
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from course_utils.classroom.checks.gpus import kit_step_time
from course_utils.classroom.device_plots import plot_batches, plot_calculated, plot_use
from course_utils.classroom.step_model import (
    RESULTS,
    Limits,
    StepWork,
    against_records,
    calculated_table,
    counted_step,
    limits_here,
    limits_of,
    recorded_steps,
)
from course_utils.diffusion import baseline
from course_utils.measure import Ceilings, Device, Timing, load

HERE = Device("AMD EPYC", "cpu", 2, 2, 2**33, 2**25, 2**20, ("fp32",))
CEILINGS = Ceilings(HERE, {"fp32": 1e11, "bf16": 2e11}, 1e10, 4e10, 2e-6)


def test_bytes_grow_in_proportion_and_the_update_stays():
    steps = [counted_step("smoke", batch) for batch in (2, 4, 8)]
    assert len({one.kernels for one in steps}) == 1
    assert steps[2].flop == 2 * steps[1].flop == 4 * steps[0].flop
    upper, lower = (
        large.bytes_moved - small.bytes_moved for small, large in ((steps[1], steps[2]), (steps[0], steps[1]))
    )
    assert upper == pytest.approx(2 * lower, rel=1e-3)  # how many pictures are mirrored is a matter of chance
    fixed = 2 * steps[0].bytes_moved - steps[1].bytes_moved
    weights = 4 * baseline("smoke").num_parameters
    assert fixed > 10 * weights  # Adam alone reads four times the weights and writes three times


def test_the_large_network_counts_as_it_was_recorded_in_a_run():
    (recorded,) = [
        one
        for one in load(RESULTS / "reference" / "bench-cpu2-dim64.jsonl")
        if one.name == "training step, batch 16: the kit's loop" and one.kind == "bench"
    ]
    told = recorded.config
    found = counted_step("gpu", 16)
    assert (found.batch, found.flop, found.kernels) == (16, told["flop"], told["kernels"])
    assert found.bytes_moved == pytest.approx(told["bytes_moved"], rel=1e-4)  # more or fewer pictures are mirrored


def test_limits_are_those_of_the_data_sheet_or_of_the_measurement():
    a100 = limits_of("A100 80 GB SXM", "tf32", launch_s=3e-6)
    assert (a100.flop_per_s, a100.bytes_per_s, a100.launch_s, a100.source) == (156e12, 2039e9, 3e-6, "data sheet")
    assert limits_of("V100 SXM2", "bf16", launch_s=3e-6) is None
    with pytest.raises(ValueError, match="device is 'A200', wanted one of V100 SXM2"):
        limits_of("A200", "fp32", launch_s=3e-6)
    here = limits_here(CEILINGS, "bf16")
    assert (here.flop_per_s, here.launch_s, here.source) == (2e11, 2e-6, "measured here")
    assert limits_here(CEILINGS, "tf32") is None


def write(path, *changes):
    """A file of records: the kit's loop at batch 16 on the shipped machine, changed."""
    source = (RESULTS / "reference" / "bench-cpu2-dim64.jsonl").read_text().splitlines()
    steps = [line for line in source if '"training step, batch 16: the kit\'s loop"' in line]
    (line,) = [line for line in steps if json.loads(line)["kind"] == "bench"]
    records = []
    for change in changes:
        made = json.loads(line)
        for part, values in change.items():
            made[part] = {**made[part], **values} if isinstance(values, dict) else values
        records.append(json.dumps(made))
    path.write_text("\n".join(records) + "\n")
    return path


def test_the_shipped_records_are_steps_of_two_networks_in_two_formats():
    steps = recorded_steps(sorted((RESULTS / "reference").glob("bench-cpu2-*.jsonl")))
    assert {(one.scale, one.dtype) for one in steps} == {
        (scale, dtype) for scale in ("laptop", "gpu") for dtype in ("fp32", "bf16")
    }
    for one in steps:
        assert (one.device, one.cores, one.work.batch) == ("AMD EPYC", 2, 16)
        assert one.low_s <= one.seconds <= one.high_s


def test_of_two_alike_the_later_counts_and_disturbed_ones_do_not(tmp_path):
    alike = write(
        tmp_path / "bench-a.jsonl", {"value": 10.0}, {"value": 8.0}, {"value": 1.0, "manifest": {"marks": ["cProfile"]}}
    )
    (one,) = recorded_steps([alike])
    assert one.seconds == 2.0
    assert one.source == "bench-a.jsonl"


def test_a_gpus_float32_is_tf32_where_its_convolutions_were(tmp_path):
    gpu = {"device": {"name": "NVIDIA H200"}, "fp32_precision": {"conv": "tf32", "matmul": "ieee"}}
    old = {**gpu, "device": {"name": "Tesla V100-SXM2-32GB"}}
    steps = recorded_steps([write(tmp_path / "b.jsonl", {"manifest": gpu}, {"manifest": old})])
    assert [one.dtype for one in steps] == ["tf32", "tf32"]
    table = against_records(
        steps, CEILINGS, lambda work, limits: (work.flop / limits.flop_per_s, "compute"), launch_s=0.0
    )
    flop = steps[0].work.flop
    ratios = [float(row[7].removesuffix("x")) for row in table.rows]
    assert ratios == pytest.approx([steps[0].seconds / flop * 494.7e12, steps[1].seconds / flop * 15.7e12], rel=0.01)
    assert "V100 SXM2" not in table.note
    assert "V100 PCIe" in table.note


def test_a_record_of_another_machine_gets_no_calculation(tmp_path):
    other = {"device": {"name": "Some CPU"}}
    steps = recorded_steps([write(tmp_path / "b.jsonl", {}, {"manifest": other}, {"manifest": {"cores_granted": 4}})])
    table = against_records(steps, CEILINGS, kit_step_time, launch_s=5e-6)
    assert [row[5] for row in table.rows][1:] == [None, None]
    mine, own = steps[0], table.rows[0]
    assert own[0] == "AMD EPYC, 2 cores"
    assert float(own[7].removesuffix("x")) == pytest.approx(mine.seconds / (mine.work.flop / 1e11), abs=0.006)
    assert own[8] == "measured here"


def test_calculated_times_are_ranked_and_say_what_they_are():
    times = {"slow": {1: (0.2, "launch"), 16: (0.4, "memory")}, "fast": {1: (0.1, "launch"), 16: (0.1, "compute")}}
    table = calculated_table(times, "A step")
    assert [row[0] for row in table.rows] == ["fast", "slow"]
    assert table.rows[1][2] == "400 ms memory"
    assert "not measured" in table.note


def test_calculated_curves_mark_their_limits():
    times = {"one": {1: (0.1, "launch"), 16: (0.1, "launch"), 64: (0.4, "memory")}}
    (ax,) = plot_calculated(times).axes
    curve, floor, memory, compute = ax.lines
    assert curve.get_ydata() == pytest.approx([10, 160, 160])
    assert list(floor.get_xdata()) == [1, 16]
    assert list(memory.get_xdata()) == [64]
    assert not len(compute.get_xdata())
    assert "not measured" in ax.get_title(loc="left")
    with pytest.raises(ValueError, match="times is empty"):
        plot_calculated({})
    plt.close("all")


def test_batches_and_use_are_drawn_as_given():
    (ax,) = plot_batches({1: Timing((0.002,) * 5, 0.002), 8: Timing((0.004,) * 5, 0.004)}).axes
    assert ax.containers[0][0].get_ydata() == pytest.approx([2, 4])
    assert ax.lines[-1].get_ydata() == pytest.approx([0.5, 4])
    (ax,) = plot_use({"cores": 0.125, "memory": 0.5}).axes
    assert [text.get_text() for text in ax.texts] == ["12.5 %", "50 %"]
    assert [bar.get_width() for bar in ax.patches] == [100, 100, 12.5, 50]
    for draw, what in ((plot_batches, "timings"), (plot_use, "shares")):
        with pytest.raises(ValueError, match=f"{what} is empty"):
            draw({})
    plt.close("all")


def test_your_own_records_are_found_beside_the_shipped_ones(tmp_path, monkeypatch):
    for folder in ("reference", "local"):
        (tmp_path / folder).mkdir()
    shutil.copy(RESULTS / "reference" / "bench-cpu2-dim64.jsonl", tmp_path / "reference")
    write(tmp_path / "local" / "bench-gpu.jsonl", {"manifest": {"device": {"name": "NVIDIA L40S"}}})
    monkeypatch.setattr("course_utils.classroom.step_model.RESULTS", Path(tmp_path))
    assert {one.device for one in recorded_steps()} == {"AMD EPYC", "NVIDIA L40S"}


def test_the_work_and_the_limits_print_with_units():
    assert "1.00 TFLOP/s" in str(Limits("one", "fp32", 1e12, 1e11, 5e-6, "made up"))
    assert "2.00 GFLOP" in str(StepWork(16, 2e9, 1e8, 1000))
