"""The README's figures and ladder: `python -m course_utils.classroom.readme_figures [quality | FILE of records]`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from course_utils.atomic import replacing
from course_utils.classroom.images import film_strip
from course_utils.classroom.quality_plots import plot_calibration, plot_quality_curve, plot_sampler_sweep
from course_utils.classroom.roofline import plot_roofline
from course_utils.classroom.staircase import Step, quality_of
from course_utils.classroom.staircase_plot import draw_staircase
from course_utils.diffusion import baseline, ddim, ideal_diffusion, load_images, scale, timesteps
from course_utils.measure import Ratio, calibrate, load, manifest, profile
from course_utils.measure.quality.extractors import CIFAR_CNN
from course_utils.measure.records import Record
from course_utils.measure.tables import si_text
from course_utils.shipped import checksums

__all__ = ["first_picture", "ladder", "main", "present", "quality_figures", "roofline", "staircase"]

REFERENCE = Path("results/reference")
RECORDED = {
    "calibration": plot_calibration,
    "quality_curve": plot_quality_curve,
    "samplers": plot_sampler_sweep,
}  # figures of recorded runs, by the name of the file of their records
MARKS = ("<!-- ladder:begin -->", "<!-- ladder:end -->")


def first_picture() -> Figure:
    """Fifty steps from noise to a picture with the ideal denoiser, as in 00_start."""
    images = load_images("train", n=scale("laptop").num_images)
    seen, believed, labels = [], [], []

    def watch(i: int, t: int, x_t: torch.Tensor, x_0: torch.Tensor) -> None:
        if i % 6 == 0 or i == 49:
            seen.append(x_t[0].float())
            believed.append(x_0[0].float())
            labels.append(f"t = {t}")

    torch.manual_seed(3)
    ddim(ideal_diffusion(images.images).predictor(), torch.randn(8, 3, 32, 32), timesteps(50), callback=watch)
    return film_strip({"x_t": seen, "believed x_0": believed}, labels, f"Fifty steps out of noise ({images.label})")


def roofline() -> Figure:
    """The laptop-scale U-Net's blocks under this machine's measured roofs."""
    size = scale("laptop")
    model = baseline(size).model
    x_t, t = torch.randn(size.batch_size, 3, 32, 32), torch.full((size.batch_size,), 500)
    with torch.no_grad():
        blocks = profile(model, x_t, t, backward=False)
    return plot_roofline(blocks, calibrate(), dtypes=("fp32", "bf16"))


def ladder(records: list[Record]) -> str:
    """The benchmark's records as a Markdown table, the latest of each name."""
    latest = {(record.kind, record.name): record for record in records}
    columns = ["step", "variant", "img/s", "speed-up", "GFLOP", "kernels", "peak memory", "verdict"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    told_of = [(name, one) for (kind, name), one in latest.items() if kind == "bench"]
    order = list(dict.fromkeys(one.config["row"] for _, one in told_of))  # a variant that came later joins its row
    for name, one in sorted(told_of, key=lambda pair: order.index(pair[1].config["row"])):
        ratio = latest.get(("speed-up", name))
        told = f"{ratio.value:.2f}x ({ratio.low:.2f}–{ratio.high:.2f})" if ratio else "–"
        peak = one.config["peak_bytes"]
        cells = [one.config["row"], one.config["variant"], si_text(one.value), told]
        cells += [f"{one.config['flop'] / 1e9:.2f}", f"{one.config['kernels']:,}"]
        cells += [f"{peak / 2**20:,.1f} MiB" if peak is not None else "–"]
        cells += [ratio.config.get("verdict", "–") if ratio else "–"]
        lines.append(f"| {' | '.join(cells)} |")
    made_on = records[-1].manifest
    machine, torch_version = made_on["device"]["name"], made_on["versions"]["torch"]
    setting = f"{records[-1].config['images']}, scale {records[-1].config['scale']}"
    lines.append(f"\nMeasured on {machine}, {made_on['cores_granted']} cores, torch {torch_version}, {setting}.")
    return "\n".join(lines)


def staircase(records: list[Record]) -> Figure:
    """The training steps of a benchmark's records that have a verdict, the latest of each name."""
    latest = {(record.kind, record.name): record for record in records}
    found = []
    for (kind, name), one in latest.items():
        if kind == "speed-up" and one.config.get("verdict") and one.config["row"].startswith("training step"):
            low, high = (one.value if bound is None else bound for bound in (one.low, one.high))
            rate = latest[("bench", name)].value
            quality = quality_of(one.config["evidence"])
            speed = Ratio(one.value, low, high, one.n or 0)
            found.append(Step(one.config["variant"], speed, one.config["verdict"], quality, img_per_s=rate))
    made_on = records[-1].manifest
    note = f"Measured on {made_on['device']['name']}, {made_on['cores_granted']} cores; cheaper networks against fp32, "
    return draw_staircase(found, "A training step, batch 16", note + "all others against the library's Trainer.")


def quality_figures() -> None:
    """Draw the figures of the reference experiments whose records are here; say which are not."""
    for name, plot in RECORDED.items():
        path = REFERENCE / f"{name}.jsonl"
        if not path.exists():
            print(f"{path} is not there: no {name}.png")
            continue
        every = load(path)
        records = present(every)
        if len(records) < len(every):
            print(f"{path}: {len(every) - len(records)} records left out, of another classifier or of older weights")
        try:
            figure = plot(records)
        except ValueError as error:
            print(f"{path}: no {name}.png: {error}")
            continue
        save(figure, name, {"records": path.name, "count": len(records), "manifest": records[-1].manifest})


def present(records: Sequence[Record]) -> list[Record]:
    """The records of what is shipped now: judged by that classifier, if by one, and of those weights.

    Weights of a run's own checkpoints are not shipped, and every one of them stays.
    """
    here = checksums()

    def is_present(told: dict[str, Any]) -> bool:
        judged = told.get("extractor") != CIFAR_CNN or told.get("sha256") == here.get(f"{CIFAR_CNN}.safetensors")
        return judged and ("run" in told or told.get("weights") in (None, *here.values()))

    return [one for one in records if is_present(one.config)]


def save(figure: Figure, name: str, made_on: dict[str, Any]) -> None:
    """Write a figure and what it was made on."""
    with replacing(REFERENCE / f"{name}.png") as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    with replacing(REFERENCE / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(made_on, indent=1) + "\n")
    print(REFERENCE / f"{name}.png")


def main(argv: list[str]) -> int:
    """Draw all figures, only those of recorded quality, or put the ladder of the named records into the README."""
    if argv == ["quality"]:
        quality_figures()
        return 0
    if argv:
        records = load(argv[0])
        readme = Path("README.md")
        text = readme.read_text()
        start, end = text.index(MARKS[0]) + len(MARKS[0]), text.index(MARKS[1])
        with replacing(readme) as temporary:
            temporary.write_text(f"{text[:start]}\n{ladder(records)}\n{text[end:]}")
        print("README.md: ladder")
        made_on = {"records": Path(argv[0]).name, "count": len(records), "manifest": records[-1].manifest}
        save(staircase(records), "staircase", made_on)
        return 0
    made_on = manifest()
    save(first_picture(), "first_picture", made_on)
    save(roofline(), "roofline_laptop", made_on)
    quality_figures()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
