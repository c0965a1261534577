"""Make every file that is shipped, from run folders and the data set: `python -m course_utils.experiments.shipping`.

Each goes to `data/` whole, with a card that says how it was made, its checksum and its line in `data/README.md`. A
stage reads what the stages before it have put there, and each may be called alone (`--only heldout`) as its inputs
become ready.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from course_utils import shipped as kit
from course_utils.diffusion import ImageSet, load_images
from course_utils.entry import StatedDefaults, run_main
from course_utils.experiments.devices import DEVICE_HELP, chosen_device
from course_utils.experiments.run_history import machine
from course_utils.experiments.shipped_cards import CIFAR10_TERMS, OWN_TERMS, put
from course_utils.experiments.shipping_base import ship_base, ship_second, ship_variants
from course_utils.experiments.shipping_quality import draw_pictures, ship_references, tell_scores
from course_utils.measure import manifest
from course_utils.measure.quality.extractors import cifar_cnn

__all__ = ["STAGES", "main", "ship_classifier", "ship_heldout", "ship_samples"]

COMMAND = "python -m course_utils.experiments.shipping"
HELDOUT, PICTURES, NUM_STEPS, SEED = 1_000, 1_000, 10, 0


def parser() -> argparse.ArgumentParser:
    """The command line of `shipping`."""
    made = argparse.ArgumentParser(
        prog=COMMAND,
        description="Make the files that are shipped, each with its card and checksum.",
        formatter_class=StatedDefaults,
    )
    add = made.add_argument
    runs = Path("results/local")
    add("--only", nargs="+", choices=STAGES, default=list(STAGES), help="which of them, in this order")
    add("--run", type=Path, default=runs / "base-0", metavar="FOLDER", help="the run of the base")
    add("--second", type=Path, default=runs / "base-1", metavar="FOLDER", help="the same from another seed")
    add("--variants", type=Path, default=runs, metavar="FOLDER", help="where the runs of retrained treatments lie")
    add("--classifier", type=Path, default=runs / "cifar-cnn", metavar="FOLDER", help="the run of cifar-cnn")
    add("--budget", type=int, metavar="STEPS", help="the base's steps in all (default: those of its last checkpoint)")
    add("--data", metavar="FOLDER", help="where CIFAR-10 lies (default: COURSE_DATA, then data/)")
    add("--device", help=DEVICE_HELP)
    return made


def main(argv: list[str] | None = None) -> int:
    """Make what was asked for from the command line; returns the exit status."""
    options = parser().parse_args(argv)
    options.device = chosen_device(options.device)
    for name, stage in STAGES.items():
        if name in options.only:
            for path in stage(options):
                print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


def ship_classifier(options: argparse.Namespace) -> list[Path]:
    """The classifier of a finished run, as it is."""
    source = options.classifier / "cifar-cnn.safetensors"
    if not source.is_file():
        raise FileNotFoundError(
            f"{source} is not there yet: finish `python -m course_utils.experiments.classifier_run --out "
            f"{options.classifier}` first."
        )
    cifar_cnn(source)  # or a sentence that says why it is none
    weights = load_file(source)
    run = json.loads(source.with_suffix(".json").read_text())
    given = run["options"]
    told = {
        "what": f"weights of cifar-cnn, whose features judge pictures; {run['test_accuracy']:.2%} of test images right",
        "terms": OWN_TERMS,
        "command": " ".join(
            [run["command"], *(f"--{name.replace('_', '-')} {value}" for name, value in given.items())]
        ),
        "data": "CIFAR-10 train, 50,000 images, mirrored and shifted",
        "budget": {"images_seen": given["epochs"] * 50_000, **given},
        "device": machine(run["manifest"]),
        "wall_time_s": run["seconds"],
        "seed": given["seed"],
        "scores": {"test accuracy": {"value": run["test_accuracy"], "n": run["test_images"]}},
        "manifest": run["manifest"],
    }
    return [put(kit.SHIPPED, source.name, lambda path: save_file(weights, path), told)]


def ship_heldout(options: argparse.Namespace) -> list[Path]:
    """The first test images of CIFAR-10, to judge models on where the data set is not."""
    images = _cifar10("test", options, HELDOUT)
    tensors = {"images": images.images, "labels": images.labels}
    told = {
        "what": f"the first {len(images):,} CIFAR-10 test images with labels, uint8 (N, 3, 32, 32)",
        "terms": CIFAR10_TERMS,
        "command": f"{COMMAND} --only heldout",
        "data": "CIFAR-10 test, in its own order",
        "count": len(images),
        "manifest": manifest(device="cpu"),
    }
    return [put(kit.SHIPPED, "heldout.safetensors", lambda path: save_file(tensors, path), told)]


def ship_samples(options: argparse.Namespace) -> list[Path]:
    """Pictures of the shipped base: the baseline's side of a gate, so that only the variant has to draw."""
    start = time.perf_counter()
    images = draw_pictures("base", PICTURES, NUM_STEPS, SEED, options.device)
    told = {
        "what": f"{PICTURES:,} pictures drawn by base, uint8 (N, 3, 32, 32): ddim, {NUM_STEPS} steps, seed {SEED}",
        "terms": OWN_TERMS,
        "command": f"{COMMAND} --only samples",
        "model": {"file": "base.safetensors", "sha256": kit.checksums()["base.safetensors"]},
        "budget": {"n": PICTURES, "sampler": "ddim", "num_steps": NUM_STEPS},
        "wall_time_s": round(time.perf_counter() - start, 1),
        "seed": SEED,
        "manifest": manifest(seed=SEED, device=torch.device(options.device)),
    }
    return [put(kit.SHIPPED, "base-samples.safetensors", lambda path: save_file({"images": images}, path), told)]


def _base(options: argparse.Namespace) -> list[Path]:
    return ship_base(options.run, options.budget, kit.SHIPPED)


def _second(options: argparse.Namespace) -> list[Path]:
    return ship_second(options.second, options.run, options.budget, kit.SHIPPED)


def _variants(options: argparse.Namespace) -> list[Path]:
    return ship_variants(options.variants, options.run, options.budget, kit.SHIPPED)


def _references(options: argparse.Namespace) -> list[Path]:
    images = [_cifar10(split, options) for split in ("train", "test")]
    return [ship_references(images, kit.SHIPPED, f"{COMMAND} --only references", options.device)]


def _scores(options: argparse.Namespace) -> list[Path]:
    return tell_scores(kit.SHIPPED, PICTURES, NUM_STEPS, SEED, options.device)


def _cifar10(split: str, options: argparse.Namespace, n: int | None = None) -> ImageSet:
    """Images of CIFAR-10 itself. Raises `ValueError` where there are none: stand-ins are never shipped."""
    images = load_images(split, folder=options.data, n=n, download=False)
    if not images.is_cifar10:
        raise ValueError("only CIFAR-10 is shipped: get it with `python -m course_utils data --download`.")
    return images


STAGES = {
    "cifar-cnn": ship_classifier,
    "references": _references,
    "heldout": ship_heldout,
    "base": _base,
    "second": _second,
    "variants": _variants,
    "samples": ship_samples,
    "scores": _scores,
}

if __name__ == "__main__":
    raise SystemExit(run_main(main))
