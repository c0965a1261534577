"""Devices by name, datasheets against figures worked out from clocks and units, caches and limits read from files."""

import pytest
import torch

from course_utils.measure import hardware
from course_utils.measure.datasheets import DATASHEETS, datasheet_for
from course_utils.measure.hardware import detect


@pytest.mark.parametrize(
    ("reported", "sheet"),
    [
        ("Tesla V100-SXM2-32GB", "V100 SXM2"),
        ("Tesla V100-SXM2-16GB", "V100 SXM2"),
        ("Tesla V100-PCIE-16GB", "V100 PCIe"),
        ("Tesla V100S-PCIE-32GB", "V100S PCIe"),
        ("Tesla T4", "T4"),
        ("Quadro RTX 8000", "RTX 8000"),
        ("NVIDIA A100-SXM4-40GB", "A100 40 GB SXM"),
        ("A100-SXM4-80GB", "A100 80 GB SXM"),
        ("NVIDIA A100-PCIE-40GB", "A100 40 GB PCIe"),
        ("NVIDIA A100 80GB PCIe", "A100 80 GB PCIe"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("AMD Radeon Instinct MI50", "MI50"),
        ("AMD Instinct MI60 / MI50", "MI50"),
        ("AMD Instinct MI250", "MI250"),
        ("AMD Instinct MI250X", "MI250X"),
    ],
)
def test_devices_are_found_by_the_name_that_torch_reports(reported, sheet):
    assert datasheet_for(reported).name == sheet


@pytest.mark.parametrize(
    "other",
    [
        "NVIDIA A100-SXM4-40GB MIG 3g.20gb",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA L40",
        "NVIDIA H100 NVL",
        "NVIDIA H200 NVL",
        "NVIDIA GH200 480GB",
        "AMD Instinct MI300X",
        "",
    ],
)
def test_slices_and_relatives_are_unknown_rather_than_guessed(other):
    assert datasheet_for(other) is None


def test_a_name_that_two_models_share_is_settled_by_their_units():
    assert datasheet_for("AMD Instinct MI250X / MI250", 104).name == "MI250"
    assert datasheet_for("AMD Instinct MI250X / MI250", 110).name == "MI250X"
    assert datasheet_for("AMD Instinct MI60 / MI50", 64) is None


@pytest.mark.parametrize(
    ("name", "dtype", "units", "flop_per_unit_and_clock", "clock_ghz"),
    [  # rate = units x FLOP per unit and clock x boost clock
        ("V100 SXM2", "fp32", 5120, 2, 1.53),
        ("V100 SXM2", "fp16", 640, 128, 1.53),
        ("T4", "fp32", 2560, 2, 1.59),
        ("T4", "fp16", 320, 128, 1.59),
        ("RTX 8000", "fp16", 576, 128, 1.77),
        ("A100 40 GB SXM", "fp32", 6912, 2, 1.41),
        ("A100 80 GB PCIe", "bf16", 432, 512, 1.41),
        ("A100 40 GB SXM", "tf32", 432, 256, 1.41),
        ("L4", "fp32", 7424, 2, 2.04),
        ("L4", "bf16", 232, 256, 2.04),
        ("L40S", "bf16", 568, 256, 2.49),
        ("H100 SXM", "bf16", 528, 1024, 1.83),
        ("H100 PCIe", "bf16", 456, 1024, 1.62),
        ("H200", "bf16", 528, 1024, 1.83),
        ("RTX 4090", "fp16", 512, 128, 2.52),
        ("MI50", "fp16", 3840, 4, 1.725),
        ("MI250", "bf16", 104, 1024, 1.7),
        ("MI250X", "fp32", 110, 256, 1.7),
    ],
)
def test_rates_agree_with_units_and_clocks(name, dtype, units, flop_per_unit_and_clock, clock_ghz):
    rate = units * flop_per_unit_and_clock * clock_ghz * 1e9
    assert DATASHEETS[name].flop_per_s[dtype] == pytest.approx(rate, rel=0.03)


@pytest.mark.parametrize(
    ("name", "bus_bits", "gbit_per_s"),
    [
        ("T4", 256, 10), ("RTX 8000", 384, 14), ("L4", 192, 12.5), ("L40S", 384, 18), ("RTX 4090", 384, 21),
        ("A100 40 GB SXM", 5120, 2.43), ("A100 80 GB SXM", 5120, 3.186), ("MI50", 4096, 2), ("MI250", 4096, 3.2),
        ("V100 SXM2", 4096, 1.76), ("H100 SXM", 5120, 5.23), ("H200", 6144, 6.25),
    ],
)  # fmt: skip
def test_bandwidths_agree_with_bus_and_pin_rate(name, bus_bits, gbit_per_s):
    assert DATASHEETS[name].bytes_per_s == pytest.approx(bus_bits * gbit_per_s * 1e9 / 8, rel=0.02)


def test_every_datasheet_is_complete():
    assert len(DATASHEETS) >= 17
    for sheet in DATASHEETS.values():
        assert {"fp32", "fp16"} <= set(sheet.flop_per_s), sheet.name
        assert sheet.source.endswith(("; NVIDIA", "; AMD")), sheet.name
        assert 60 < sheet.tdp_w < 1000
        assert 1e12 < sheet.flop_per_s["fp32"] < 1e14
        assert 16e9 <= sheet.memory_bytes < 2e11


def test_this_machine_describes_itself():
    device = detect("cpu")
    assert device.name
    assert device.kind == "cpu"
    assert device.threads == torch.get_num_threads()
    assert device.cores >= 1
    assert device.memory_bytes > 2**28
    assert "fp32" in device.fast_dtypes
    assert device.datasheet is None
    assert "measured only" in str(device)


def test_devices_that_are_not_there_are_named():
    with pytest.raises(ValueError, match="wanted a cpu, cuda or mps"):
        detect("meta")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="sees no CUDA"):
            detect("cuda")


def test_flags_and_capabilities_become_types():
    assert hardware._fast_on_cpu({"avx2"}) == ("fp32",)
    assert hardware._fast_on_cpu({"avx512_bf16", "avx512_vnni"}) == ("fp32", "bf16", "int8")
    assert hardware._fast_on_cpu({"asimdhp", "bf16"}) == ("fp32", "bf16", "fp16")
    assert set(hardware._fast_on_cuda((7, 0))) == {"fp32", "fp16"}
    assert set(hardware._fast_on_cuda((7, 5))) == {"fp32", "fp16", "int8"}
    assert set(hardware._fast_on_cuda((9, 0))) == {"fp32", "fp16", "int8", "tf32", "bf16"}
    assert "bf16" not in hardware._fast_on_cuda((9, 0), "gfx906:sramecc+")
    assert "bf16" in hardware._fast_on_cuda((9, 0), "gfx90a:sramecc+:xnack-")


def test_caches_are_read_by_level(tmp_path, monkeypatch):
    for index, (level, kind, size) in enumerate([(1, "Data", "48K"), (1, "Instruction", "32K"), (2, "Unified", "1M"),
                                                 (3, "Unified", "32768K")]):  # fmt: skip
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        for name, value in (("level", level), ("type", kind), ("size", size)):
            (folder / name).write_text(f"{value}\n")
    monkeypatch.setattr(hardware, "_CACHES", tmp_path)
    assert hardware._cpu_caches() == (32 * 2**20, 2**20)


def test_a_memory_limit_cuts_the_memory(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("1000000\n")
    monkeypatch.setattr(hardware, "_CGROUP", tmp_path)
    assert hardware._memory_granted() == 1_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert hardware._memory_granted() > 2**28
