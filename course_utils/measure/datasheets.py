"""What vendors say their accelerators can do, each figure with its source.

Rates are *dense*: vendors' tables often show twice as much, which holds only for matrices with half their entries zero
("with sparsity"). Rates of 16-bit types are those with 32-bit accumulation, which is what torch uses; consumer cards
are advertised with the doubled rate of 16-bit accumulation. 1 TFLOP/s = 1e12 FLOP/s, 1 GB = 1e9 bytes, memory sizes as
sold. A type that a device has no fast path for is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["DATASHEETS", "Datasheet", "datasheet_for"]

_VOLTA = "NVIDIA Tesla V100 GPU Accelerator data sheet; NVIDIA"
_A100 = "NVIDIA A100 Tensor Core GPU data sheet; NVIDIA"
_ADA = "NVIDIA Ada GPU Architecture whitepaper, v2; NVIDIA"
_HOPPER = "NVIDIA H100 Tensor Core GPU Architecture whitepaper; NVIDIA"
_CDNA2 = "AMD Instinct MI200 Series Accelerator data sheet; AMD"
_HALVED = "the source's tensor figures are with sparsity; halved here"
_ACCUMULATE = "16-bit rates with 32-bit accumulation, half of the advertised 330.3 TFLOP/s"
_TWO_SIZES = "also sold with 16 GB"
_ONE_DIE = (
    "half of the source's figures: one of the card's two dies is what torch sees as a device; "
    "fp32 is the matrix rate, the vector rate is half of it"
)


@dataclass(frozen=True)
class Datasheet:
    """Figures of one device: FLOP/s by dtype name (`fp32`, `tf32`, `fp16`, `bf16`, `int8`), bytes/s, bytes, watts.

    `pattern` matches the whole device name that torch reports; `processors`, where several models share a name, the
    number of multiprocessors (compute units) that tells them apart.
    """

    name: str
    pattern: str = field(repr=False)
    flop_per_s: dict[str, float]
    bytes_per_s: float
    memory_bytes: float
    tdp_w: float
    source: str
    note: str = ""
    processors: int | None = None


@dataclass(frozen=True)
class _Rates:
    """Dense TFLOP/s by dtype name."""

    fp32: float
    fp16: float
    tf32: float | None = None
    bf16: float | None = None
    int8: float | None = None


def _sheet(
    name: str, pattern: str, gb: float, gb_per_s: float, watts: float, rates: _Rates, source: str, note: str = "",
    processors: int | None = None,
) -> Datasheet:  # fmt: skip
    flop_per_s = {dtype: rate * 1e12 for dtype, rate in vars(rates).items() if rate is not None}
    return Datasheet(name, pattern, flop_per_s, gb_per_s * 1e9, gb * 1e9, watts, source, note, processors)


_GA100 = _Rates(19.5, 312, tf32=156, bf16=312, int8=624)
_GH100 = _Rates(66.9, 989.4, tf32=494.7, bf16=989.4, int8=1978.9)
_H100_PCIE = _Rates(51.2, 756, tf32=378, bf16=756, int8=1513)
_AD104 = _Rates(30.3, 121, tf32=60, bf16=121, int8=242.5)
_AD102_L40S = _Rates(91.6, 362.05, tf32=183, bf16=362.05, int8=733)
_AD102_4090 = _Rates(82.6, 165.2, tf32=82.6, bf16=165.2, int8=660.6)
_SHEETS = (
    _sheet("V100 SXM2", r"V100-SXM[23](-\d+GB)?", 32, 900, 300, _Rates(15.7, 125), _VOLTA, _TWO_SIZES),
    _sheet("V100 PCIe", r"V100-PCIE(-\d+GB)?", 32, 900, 250, _Rates(14, 112), _VOLTA, _TWO_SIZES),
    _sheet("V100S PCIe", r"V100S-PCIE(-\d+GB)?", 32, 1134, 250, _Rates(16.4, 130), _VOLTA),
    _sheet("T4", r"T4", 16, 320, 70, _Rates(8.1, 65, int8=130), "NVIDIA T4 Tensor Core GPU data sheet; NVIDIA"),
    _sheet(
        "RTX 8000", r"RTX 8000", 48, 672, 295, _Rates(16.3, 130.5, int8=261),
        "NVIDIA Quadro RTX 8000 data sheet; NVIDIA", "power of the whole board; the GPU alone 260 W",
    ),
    _sheet("A100 40 GB SXM", r"A100-SXM4?-40GB", 40, 1555, 400, _GA100, _A100),
    _sheet("A100 80 GB SXM", r"A100-SXM4?-80GB", 80, 2039, 400, _GA100, _A100),
    _sheet("A100 40 GB PCIe", r"A100-PCIE-40GB|A100 40GB PCIe", 40, 1555, 250, _GA100, _A100),
    _sheet("A100 80 GB PCIe", r"A100-PCIE-80GB|A100 80GB PCIe", 80, 1935, 300, _GA100, _A100),
    _sheet("L4", r"L4", 24, 300, 72, _AD104, "NVIDIA L4 Tensor Core GPU data sheet; NVIDIA", _HALVED),
    _sheet("L40S", r"L40S", 48, 864, 350, _AD102_L40S, "NVIDIA L40S GPU data sheet; NVIDIA"),
    _sheet("H100 SXM", r"H100 80GB HBM3|H100 SXM5( 80GB)?|H100-SXM5-80GB", 80, 3350, 700, _GH100, _HOPPER),
    _sheet("H100 PCIe", r"H100 PCIe", 80, 2039, 350, _H100_PCIE, _HOPPER),
    _sheet("H200", r"H200( SXM5?)?", 141, 4800, 700, _GH100, "NVIDIA H200 GPU data sheet; NVIDIA", _HALVED),
    _sheet("RTX 4090", r"RTX 4090", 24, 1008, 450, _AD102_4090, _ADA, _ACCUMULATE),
    _sheet(
        "MI50", r"(MI60 ?/ ?)?MI50( ?/ ?MI60)?( \d+GB)?", 16, 1024, 300, _Rates(13.3, 26.5, int8=53),
        "AMD Radeon Instinct MI50 Accelerator data sheet; AMD", "no matrix units; also sold with 32 GB", 60,
    ),
    _sheet(
        "MI250", r"(MI250X ?/ ?)?MI250", 64, 1638.4, 250, _Rates(45.25, 181.05, bf16=181.05, int8=181.05),
        _CDNA2, _ONE_DIE, 104,
    ),
    _sheet(
        "MI250X", r"MI250X( ?/ ?MI250)?", 64, 1638.4, 250, _Rates(47.85, 191.5, bf16=191.5, int8=191.5),
        _CDNA2, _ONE_DIE, 110,
    ),
)  # fmt: skip

DATASHEETS: dict[str, Datasheet] = {sheet.name: sheet for sheet in _SHEETS}
_VENDOR = re.compile(r"^(NVIDIA|AMD|Tesla|Quadro|GeForce|Radeon|Instinct|\(TM\)|\s)+", re.IGNORECASE)


def datasheet_for(name: str, processors: int | None = None) -> Datasheet | None:
    """The datasheet of the device that torch calls `name`, None for one that is not known.

    The whole name must fit: a slice of a device (MIG), a laptop or a throttled variant is another device. `processors`
    (multiprocessors or compute units) settles names that two models share.
    """
    model = _VENDOR.sub("", name.strip())
    fitting = [sheet for sheet in DATASHEETS.values() if re.fullmatch(sheet.pattern, model, re.IGNORECASE)]
    if processors is not None:
        fitting = [sheet for sheet in fitting if sheet.processors in (None, processors)]
    return fitting[0] if fitting else None
