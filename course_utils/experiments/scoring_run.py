"""How good are a model's pictures? `python -m course_utils score CHECKPOINT|FOLDER`."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from course_utils.diffusion import SAMPLERS, SHIPPED_MODELS, list_checkpoints
from course_utils.entry import StatedDefaults
from course_utils.experiments.devices import DEVICE_HELP, chosen_device
from course_utils.experiments.named_models import NamedModel, load_named, under
from course_utils.experiments.portraits import Drawing, Judge, Portrait, portray, portray_base, portray_pictures
from course_utils.experiments.row_files import inside
from course_utils.experiments.sampling_run import refuse_steps, save_grid
from course_utils.experiments.scoring import command, gate_config, gate_of, gate_readings, record_all, score_of
from course_utils.measure.quality import Extractor
from course_utils.measure.quality.extractors import best_extractor, cifar_cnn, inception

__all__ = ["add_extractor_options", "chosen_extractor", "load_pictures", "main"]

PICTURES = (".png", ".jpg", ".jpeg")
SIDE = 32


def parser() -> argparse.ArgumentParser:
    """The command line of `score`."""
    made = argparse.ArgumentParser(
        prog="python -m course_utils score",
        description="Distances of a model's pictures to CIFAR-10's training images, and its held-out loss.",
        formatter_class=StatedDefaults,
    )
    add = made.add_argument
    add(
        "what",
        metavar="CHECKPOINT|FOLDER",
        help="a checkpoint, a weights file, a run's folder, a folder of 32 x 32 pictures (PNG, JPEG), or a model that "
        f"comes with the kit: {', '.join(SHIPPED_MODELS)}",
    )
    add("-n", type=int, help="how many pictures (default: 1000, or all of a folder)")
    add("--num-steps", type=int, default=10, metavar="N", help="model calls for each picture")
    add("--sampler", choices=sorted(SAMPLERS), default="ddim", help="how to walk from noise to picture")
    add("--seed", type=int, default=0, help="picture i depends on the seed and i alone")
    add_extractor_options(made, "auto")
    add("--against", metavar="CHECKPOINT|base", help="a model to pass the gate of: as good as that one?")
    add("--treatments", nargs="+", default=[], metavar="T", help="of its execution: layout half_precision")
    add("--raw-weights", action="store_true", help="the weights as trained, instead of their running average")
    add("--out", type=Path, default=Path("results/local/scores.jsonl"), metavar="FILE", help="where records go")
    add("-o", "--grid", type=Path, metavar="FILE", help="a PNG for the first 64 pictures")
    add("--device", help=DEVICE_HELP)
    return made


def main(argv: list[str] | None = None) -> int:
    """Run `score` from the command line; returns the exit status."""
    options = parser().parse_args(argv)
    if options.grid is not None and options.grid.suffix.lower() != ".png":
        raise ValueError(f"--grid is {str(options.grid)!r}, but pictures are written as PNG: end the name in .png.")
    refuse_steps(options.num_steps)
    device = chosen_device(options.device)
    subject = loaded(options)
    baseline = load_named(options.against) if options.against else None
    judge = Judge.appointed(chosen_extractor(options, device), device=device)
    portrait = portrayed(subject, options, judge)
    made = score_of(portrait, judge)
    print(made)
    words = spelled(options, portrait, judge)
    record_all(made.readings(), portrait.name, {**made.config(), "command": words}, options.out, device=device)
    if baseline is not None:
        print_gate(options, portrait, baseline, judge)
    if options.grid is not None:
        save_grid(options.grid, portrait.images[:64])
        print(f"{options.grid}: the first {min(64, len(portrait.images))} pictures")
    print(f"records in {options.out}")
    return 0


def loaded(options: argparse.Namespace) -> NamedModel | Tensor:
    """What was named: a model, or the pictures of a folder, uint8 (N, 3, 32, 32)."""
    path = Path(options.what)
    if path.is_dir() and not list_checkpoints(path) and not _pictures(path):
        raise FileNotFoundError(f"{path} holds no checkpoint and no pictures (PNG, JPEG): name another folder.")
    if not is_picture_folder(path):
        return under(load_named(options.what, raw_weights=options.raw_weights), options.treatments)
    if options.treatments:
        raise ValueError(f"{path} is a folder of pictures, which no model draws: leave --treatments out.")
    if options.raw_weights:
        raise ValueError(f"{path} is a folder of pictures, which have no weights: leave --raw-weights out.")
    return load_pictures(path, n=options.n)


def portrayed(subject: NamedModel | Tensor, options: argparse.Namespace, judge: Judge) -> Portrait:
    """The portrait of a model, which draws now, or of pictures."""
    name, for_gate = spoken(options.what), options.against is not None
    if isinstance(subject, Tensor):
        judge.check(len(subject), for_gate=for_gate)
        return portray_pictures(subject, judge, name=name)
    drawing = drawing_of(options)
    judge.check(drawing.n, for_gate=for_gate)
    return portray(subject, drawing, judge, name=name)


def print_gate(options: argparse.Namespace, portrait: Portrait, baseline: NamedModel, judge: Judge) -> None:
    """Print and record the gate between a portrait and the model named by --against."""
    drawing, name = drawing_of(options, n=len(portrait.images)), spoken(options.against)
    kit_base = name == "base" and not Path(name).exists()
    other = portray_base(drawing, judge) if kit_base else portray(baseline, drawing, judge, name=name)
    found = gate_of(portrait, other, judge)
    for one in found:
        print("", one, sep="\n")
    config = {**gate_config(portrait, other, judge), "command": spelled(options, portrait, judge)}
    record_all(gate_readings(found), f"{portrait.name} against {name}", config, options.out, device=judge.device)


def drawing_of(options: argparse.Namespace, n: int | None = None) -> Drawing:
    """How the options say that pictures are drawn."""
    count = next(each for each in (n, options.n, Drawing.n) if each is not None)
    return Drawing(count, options.num_steps, options.sampler, options.seed)


def spelled(options: argparse.Namespace, portrait: Portrait, judge: Judge) -> str:
    """The command line with everything that was decided, and without what belongs to this machine alone."""
    more = ["--raw-weights"] if options.raw_weights else []
    more += [f"--against {spoken(options.against)}"] if options.against else []
    drawing, treatments = drawing_of(options, n=len(portrait.images)), options.treatments
    return command(portrait.name, drawing, judge.extractor.name, *more, treatments=treatments)


def spoken(name: str) -> str:
    """A model's name as it may be written down: a path without the folders of this machine."""
    return inside(name) if Path(name).exists() else name


def add_extractor_options(parser: argparse.ArgumentParser, default: str) -> None:
    """Add `--extractor` and `--inception` to a command line."""
    names = ["auto", "inception", "cifar-cnn"]
    parser.add_argument(
        "--extractor",
        choices=names,
        default=default,
        help="auto: inception where its weights and its reference of CIFAR-10 are on disk, else cifar-cnn",
    )
    parser.add_argument("--inception", type=Path, metavar="FILE", help="Inception's weights, for FID and KID")


def chosen_extractor(options: argparse.Namespace, device: str) -> Extractor:
    """The extractor that the options name; which one `auto` took, and why, is printed.

    Raises `ValueError` for weights of another one than was asked for.
    """
    if options.extractor == "cifar-cnn":
        if options.inception is not None:
            raise ValueError(
                "--inception names weights that --extractor cifar-cnn does not use: leave one of them out."
            )
        return cifar_cnn(device=device)
    if options.extractor == "inception" or options.inception is not None:
        return inception(options.inception, device=device)
    return best_extractor(device=device, tell=print)


def is_picture_folder(path: Path) -> bool:
    """Whether a path is a folder with pictures and no checkpoints."""
    return path.is_dir() and not list_checkpoints(path) and bool(_pictures(path))


def load_pictures(folder: Path, *, n: int | None = None) -> Tensor:
    """The first `n` pictures of a folder (all, if None) by name, uint8 (N, 3, 32, 32).

    Raises `ValueError` for a picture that is damaged or not RGB of 32 x 32 pixels, which it names, or fewer than `n`.
    """
    paths = _pictures(folder)
    if n is not None and not 1 <= n <= len(paths):
        raise ValueError(f"-n is {n}, but {folder} holds {len(paths):,} pictures: ask for 1 to {len(paths):,}.")
    pixels = np.stack([_picture(path) for path in paths[:n]])  # (N, 32, 32, 3)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def _pictures(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.iterdir() if path.suffix.lower() in PICTURES and not path.name.startswith(".")
    )


def _picture(path: Path) -> np.ndarray:
    """The pixels of one picture, uint8 (32, 32, 3)."""
    try:
        with Image.open(path) as image:
            if image.mode != "RGB" or image.size != (SIDE, SIDE):
                seen = f"{image.mode}, {image.width} x {image.height} pixels"
                raise ValueError(f"{path} is {seen}, wanted RGB, {SIDE} x {SIDE}: convert it, or move it elsewhere.")
            return np.asarray(image)
    except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is no picture that can be read: save it again, or move it elsewhere.") from error
