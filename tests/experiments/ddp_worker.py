"""One of the processes that the tests start with torchrun: `ddp_worker.py facts FOLDER`, `slow ...` or `crash ...`.

`facts` writes what this process saw to FOLDER/RANK.pt, and runs to folders beside; `slow` is `train` that takes its
time, `crash` is `train` in which process 1 fails at its third step.
"""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import torch

from course_utils.diffusion import (
    EMA,
    Batches,
    LossModule,
    NotFiniteError,
    Stepper,
    TrainState,
    baseline,
    denoising_loss,
    procedural_images,
    sample,
    train,
)
from course_utils.diffusion.weights import model_tensors
from course_utils.entry import run_main
from course_utils.experiments import stopping, training_run
from course_utils.experiments.ranks import Ranks, alone, joined
from course_utils.experiments.split_sampling import every_nth_batch
from course_utils.experiments.stopping import Agreed, StopFlag
from course_utils.experiments.training_options import asked
from course_utils.speedups import distributed

GLOBAL_BATCH = 8
QUICK = ["--scale", "smoke", "--heldout", "0", "--log-every", "2", "--num-steps", "20", "--checkpoint-every", "7"]


class Noting(torch.optim.SGD):
    """An optimizer that keeps the gradients it is given and changes nothing."""

    def __init__(self, parameters):
        super().__init__(parameters, lr=0.0)

    def step(self, closure=None):
        self.seen = [weight.grad.clone() for group in self.param_groups for weight in group["params"]]


def parts(ranks: Ranks):
    """A model, its share of the batches, and what `train` must know of the others."""
    share = {"rank": ranks.rank, "world_size": ranks.world_size}
    batches = Batches(procedural_images(n=40), GLOBAL_BATCH // ranks.world_size, seed=3, **share)
    return baseline("smoke"), batches, share


def gradients(ranks: Ranks):
    """The gradients of the first step by name, without clipping."""
    diffusion, batches, share = parts(ranks)
    loss_of = LossModule(diffusion.model, diffusion.process, denoising_loss)
    wrapped = distributed(loss_of) if ranks.together else loss_of
    stepper = Stepper(TrainState(diffusion, EMA(diffusion.model)), Noting, wrapped, None, **share)
    stepper.step(batches)
    return dict(zip((name for name, _ in diffusion.model.named_parameters()), stepper.optimizer.seen, strict=True))


def trained(ranks: Ranks, num_steps=5, **options):
    """The state after a few steps."""
    diffusion, batches, share = parts(ranks)
    if ranks.together:
        options = {"wrap": distributed, "average": ranks.average, **options}
    return train(diffusion, batches, num_steps=num_steps, log_every=3, **share, **options)


def spoiled(rank, model, process, x_0, t, eps):
    """The loss, but NaN in process 1 at its fifth call."""
    spoiled.calls += 1
    loss = denoising_loss(model, process, x_0, t, eps)
    return loss * float("nan") if rank == 1 and spoiled.calls == 5 else loss


def not_finite(ranks: Ranks):
    """What `train` says of a NaN in process 1."""
    spoiled.calls = 0
    try:
        trained(ranks, loss=partial(spoiled, ranks.rank))
    except NotFiniteError as error:
        return str(error)
    return "nothing"


def pictures(ranks: Ranks):
    """Seven pictures in batches of two, drawn by all."""
    sampler = every_nth_batch("ddpm", ranks.rank, ranks.world_size)
    return ranks.total(sample(baseline("smoke"), 7, sampler=sampler, num_steps=3, seed=4, batch_size=2))


def facts(ranks: Ranks):
    """All that is compared: with the other process, and with one that works alone."""
    state = trained(ranks)
    told = {
        "gradients": gradients(ranks),
        "weights": {name: tensor.detach().clone() for name, tensor in model_tensors(state.diffusion.model).items()},
        "average": dict(state.ema.tensors),
        "losses": state.losses,
        "images_seen": state.images_seen,
        "pictures": pictures(ranks),
    }
    if ranks.together:
        told["stopped_at"] = trained(ranks, 20, should_stop=Agreed(lambda: ranks.rank == 1, ranks.agree)).step
        told["not_finite"] = not_finite(ranks)
        told["said"] = ranks.gather({"rank": ranks.rank})
        told["agreed"] = [ranks.agree(ranks.rank == 1), ranks.agree(False)]
        told["mean"] = ranks.average(torch.tensor([1.0, float(ranks.rank)]))
        told["described"] = ranks.described()
        told["first_here"] = ranks.first_here
    return told


class Planted(training_run.Counted):
    """Batches that let something happen before one of them is fetched; `happens` is (step) -> None."""

    happens = staticmethod(lambda step: None)

    def __call__(self, step):
        type(self).happens(step)
        return super().__call__(step)


def part(ranks: Ranks, out: Path, happens=lambda step: None):
    """One start of a run in `out`: -> (its last step, whether it is complete, why not, whether it asks to go on)."""
    Planted.happens = staticmethod(happens)
    words = [*QUICK, "--batch-size", str(GLOBAL_BATCH // ranks.world_size), "--out", str(out)]
    with StopFlag(patient=True) as stop:
        end = training_run.run_training(asked(words), stop, ranks)
    ranks.wait()  # until the first process has written
    asks_to_go_on = (out / "REQUEUE").exists()
    ranks.wait()  # until both have looked: the next part removes the file
    return end.state.step, end.complete, end.why, asks_to_go_on


def runs(ranks: Ranks, folder: Path):
    """The same run straight, and in three parts: stopped by the file STOP, then by SIGUSR1 to process 1."""
    training_run.Counted, stopping.LOOK_EVERY_S = Planted, 0

    def put_stop(step):
        if step == 3 and ranks.rank == 0:
            (folder / "parted" / "STOP").touch()

    def signal_one(step):
        if step == 11 and ranks.rank == 1:
            signal.raise_signal(signal.SIGUSR1)

    parts = [part(ranks, folder / "parted", happens) for happens in (put_stop, signal_one, lambda step: None)]
    return {"straight": part(ranks, folder / "straight"), "parts": parts}


def slowed(step):
    """So that a test can get a word in between."""
    time.sleep(0.05)


def crashing(step):
    """Fail in one process."""
    if os.environ["RANK"] == "1" and step == 2:
        raise RuntimeError("the planted crash")


def main():
    """Do what the command line says."""
    what, *words = sys.argv[1:]
    if what != "facts":
        Planted.happens = staticmethod(slowed if what == "slow" else crashing)
        training_run.Counted = Planted
        return run_main(training_run.main, words)
    with joined("cpu") as ranks:
        torch.save({**facts(ranks), **runs(ranks, Path(words[0]))}, Path(words[0]) / f"{ranks.rank}.pt")
    return 0


def facts_alone():
    """The facts of one process."""
    return facts(alone("cpu"))


if __name__ == "__main__":
    sys.exit(main())
