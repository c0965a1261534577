"""Train the classifier whose features judge pictures: `python -m course_utils.experiments.classifier_run`.

Once in the life of the kit: its result is shipped as `data/cifar-cnn.safetensors`. The run keeps its state after every
epoch; the same words typed again go on from there.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_utils.atomic import replacing
from course_utils.diffusion import ImageSet, load_images, to_float
from course_utils.entry import StatedDefaults, run_main
from course_utils.experiments.devices import DEVICE_HELP, chosen_device
from course_utils.measure import manifest
from course_utils.measure.quality.cifar_cnn import CifarCNN

__all__ = ["accuracy", "main", "train_classifier"]

PEAK_LR, WARM_UP, MOMENTUM, DECAY, SMOOTHING, SHIFT = 0.15, 0.2, 0.9, 5e-4, 0.1, 4


@dataclass
class Run:
    """A classifier in training: the epochs done and the seconds they took."""

    model: CifarCNN
    optimizer: torch.optim.SGD
    epoch: int = 0
    seconds: float = 0.0


def parser() -> argparse.ArgumentParser:
    """The command line of the classifier's run."""
    made = argparse.ArgumentParser(
        prog="python -m course_utils.experiments.classifier_run",
        description="Train cifar-cnn, the classifier whose features judge pictures.",
        formatter_class=StatedDefaults,
    )
    add = made.add_argument
    add("--epochs", type=int, default=10, help="passes over the training images")
    add("--batch-size", type=int, default=128, metavar="N", help="images a step")
    add("--seed", type=int, default=0, help="seed of weights, order and augmentation")
    add("--device", help=DEVICE_HELP)
    add("--out", type=Path, default=Path("results/local/cifar-cnn"), metavar="FOLDER", help="the run")
    return made


def main(argv: list[str] | None = None) -> int:
    """Train from the command line; returns the exit status."""
    options = parser().parse_args(argv)
    for option, value in (("--epochs", options.epochs), ("--batch-size", options.batch_size)):
        if value < 1:
            raise ValueError(f"{option} is {value}, but must be at least 1.")
    device = chosen_device(options.device)
    images = load_images("train")
    if not images.is_cifar10:
        raise ValueError("cifar-cnn learns from CIFAR-10 alone: get it with `python -m course_utils data --download`.")
    run = train_classifier(images, options.epochs, options.batch_size, options.seed, device, options.out)
    test = load_images("test")
    right = accuracy(run.model, test)
    write(run, right, len(test), options, device)
    print(f"{options.out}: {right:.2%} of {len(test):,} test images right after {run.seconds / 60:.0f} min of training")
    return 0


def write(run: Run, right: float, tested: int, options: argparse.Namespace, device: str) -> None:
    """Write the weights and their card: `right` is the share of `tested` test images that were classified rightly."""
    card = {
        "command": "python -m course_utils.experiments.classifier_run",
        "options": {"epochs": options.epochs, "batch_size": options.batch_size, "seed": options.seed},
        "test_accuracy": right,
        "test_images": tested,
        "seconds": round(run.seconds, 1),
        "manifest": manifest(device=torch.device(device)),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in run.model.state_dict().items()}
    with replacing(options.out / "cifar-cnn.safetensors") as temporary:
        save_file(tensors, temporary)
    with replacing(options.out / "cifar-cnn.json") as temporary:
        temporary.write_text(json.dumps(card, indent=1) + "\n")


def train_classifier(images: ImageSet, epochs: int, batch_size: int, seed: int, device: str, folder: Path) -> Run:
    """Train for `epochs` in all, going on with what lies in `folder`; returns the run in evaluation mode.

    Raises `ValueError` for fewer images than a batch takes, and where the folder holds a run of another length, batch
    size or seed, or a state that cannot be read.
    """
    if batch_size > len(images):
        raise ValueError(f"--batch-size is {batch_size:,}, but there are {len(images):,} images: take a smaller one.")
    asked = {"epochs": epochs, "batch_size": batch_size, "seed": seed}
    run = _begun(asked, device, folder)
    steps = len(images) // batch_size
    pixels, labels = images.images.to(device), images.labels.to(device)
    while run.epoch < epochs:
        start, random = time.perf_counter(), torch.Generator().manual_seed(seed * 1_000 + run.epoch)
        order = torch.randperm(len(images), generator=random)
        run.model.train()
        for step in tqdm(range(steps), desc=f"epoch {run.epoch + 1} of {epochs}", unit="step", dynamic_ncols=True):
            rows = order[step * batch_size :][:batch_size].to(device)
            x = _augmented(to_float(pixels[rows]), random).to(memory_format=torch.channels_last)
            run.optimizer.param_groups[0]["lr"] = PEAK_LR * _triangle((run.epoch * steps + step) / (epochs * steps))
            loss = F.cross_entropy(run.model(x), labels[rows], label_smoothing=SMOOTHING)
            run.optimizer.zero_grad()
            loss.backward()
            run.optimizer.step()
        run.epoch, run.seconds = run.epoch + 1, run.seconds + time.perf_counter() - start
        _keep(run, asked, folder)
    run.model.eval()
    return run


@torch.no_grad()
def accuracy(model: nn.Module, images: ImageSet, batch_size: int = 500) -> float:
    """The share of images whose highest score is that of their class."""
    device = next(model.parameters()).device
    right = 0
    for start in range(0, len(images), batch_size):
        scores = model(to_float(images.images[start : start + batch_size].to(device)))
        right += int((scores.argmax(1).cpu() == images.labels[start : start + batch_size]).sum())
    return right / len(images)


def _begun(asked: dict[str, int], device: str, folder: Path) -> Run:
    torch.manual_seed(asked["seed"])
    model = CifarCNN().to(device).to(memory_format=torch.channels_last)
    run = Run(model, torch.optim.SGD(model.parameters(), momentum=MOMENTUM, nesterov=True, weight_decay=DECAY))
    if (folder / "state.pt").is_file():
        state = _state(folder / "state.pt", device)
        if state["options"] != asked:
            raise ValueError(f"{folder} holds a run with {state['options']}, asked was {asked}: choose another --out.")
        run.model.load_state_dict(state["model"])
        run.optimizer.load_state_dict(state["optimizer"])
        run.epoch, run.seconds = state["epoch"], state["seconds"]
        print(f"going on after epoch {run.epoch} of {folder}")
    return run


def _state(path: Path, device: str) -> dict[str, Any]:
    """What a run has kept of itself."""
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        whole = {"options", "model", "optimizer", "epoch", "seconds"} <= state.keys()
    except (UnpicklingError, RuntimeError, EOFError, AttributeError) as error:
        raise ValueError(f"{path} is damaged or something else: remove it, or choose another --out.") from error
    if not whole:
        raise ValueError(f"{path} is not the state of such a run: remove it, or choose another --out.")
    return state


def _keep(run: Run, asked: dict[str, int], folder: Path) -> None:
    parts = {"model": run.model.state_dict(), "optimizer": run.optimizer.state_dict(), "options": asked}
    with replacing(folder / "state.pt") as temporary:
        torch.save({**parts, "epoch": run.epoch, "seconds": run.seconds}, temporary)


def _triangle(done: float) -> float:
    """The learning rate's share of its peak when this share of the run is done: up to it, then down to 0."""
    return done / WARM_UP if done < WARM_UP else (1 - done) / (1 - WARM_UP)


def _augmented(x: Tensor, random: torch.Generator) -> Tensor:
    """Images mirrored with probability 1/2 and shifted by up to `SHIFT` pixels, each on its own."""
    size = x.shape[-1]
    padded = F.pad(x, (SHIFT,) * 4, mode="reflect")
    shifts = torch.randint(2 * SHIFT + 1, (len(x), 2), generator=random).tolist()
    mirrored = (torch.rand(len(x), generator=random) < 0.5).tolist()
    moved = [image[:, i : i + size, j : j + size] for image, (i, j) in zip(padded, shifts, strict=True)]
    return torch.stack([image.flip(-1) if flip else image for image, flip in zip(moved, mirrored, strict=True)])


if __name__ == "__main__":
    raise SystemExit(run_main(main))
