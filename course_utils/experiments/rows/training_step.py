"""The training step: the library's `Trainer`, its evaluation switched off, against the kit's loop.

One step is: fetch a batch, forward, backward, clip, Adam, EMA. The `Trainer` keeps its habits: PNG files and workers,
the loss read at every step, the progress bar, EMA of 0.995 every tenth step. Only its evaluation is off: 50,000 samples
every 1,000 steps would cost about a thousand times the training in between.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import torch

from course_utils.diffusion import LossModule, baseline, denoising_loss, to_float
from course_utils.experiments.claims import Claim, trained_alike
from course_utils.experiments.one_step import training_step
from course_utils.experiments.rows import EXECUTIONS, Entries, Row, Setting, possible
from course_utils.experiments.rows.data_loading import write_pngs
from course_utils.measure import Evidence, Variant, cores_granted, same_function
from course_utils.speedups import treat

__all__ = ["ROWS"]

ORDER = 30
KIT = "the kit's loop"
DEFAULT_BATCH = 16  # the Trainer's own default, and the least that it accepts


def trainer_step(setting: Setting, folder: Path, batch: int) -> Callable[[], None]:
    """One step of the library's `Trainer` at a time, with its bar written to nowhere and no more workers than cores
    are granted to this process.
    """
    import denoising_diffusion_pytorch.denoising_diffusion_pytorch as library
    from accelerate.state import AcceleratorState, PartialState

    AcceleratorState._reset_state(reset_partial_state=True)  # one a process, or the second Trainer fails
    PartialState(cpu=setting.device.type == "cpu")  # or the Trainer takes whatever accelerator it finds
    with mock.patch.object(library, "cpu_count", cores_granted):
        trainer = library.Trainer(
            baseline(setting.scale).to(setting.device).as_library(),
            folder,
            train_batch_size=batch,
            train_lr=1e-4,
            save_and_sample_every=10**9,
            results_folder=str(setting.scratch / "trainer"),
            calculate_fid=False,
        )
    if trainer.device.type != setting.device.type:
        raise RuntimeError(
            f"the Trainer works on {trainer.device}, wanted {setting.device}: leave its row out by --only"
        )

    def step() -> None:
        trainer.train_num_steps = trainer.step + 1
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            trainer.train()

    return step


def ROWS(setting: Setting) -> Iterator[Row]:
    """One row at the Trainer's default batch, and one at the scale's own where that is larger."""
    executions = possible(EXECUTIONS, setting)
    claims = {KIT: Claim("exact", lambda: [same_loss(setting)])}
    claims |= {name: trained_alike(setting.scale, setting.device, *how) for name, how in executions.items()}
    for batch in sorted({DEFAULT_BATCH, max(DEFAULT_BATCH, setting.scale.batch_size)}):
        step = f"fetch {batch} images, forward, backward, clip, Adam, EMA"
        prepare = preparing(setting, batch, executions)
        yield Row(f"training step, batch {batch}", step, batch, prepare, config={"batch": batch}, claims=claims)


def same_loss(setting: Setting) -> Evidence:
    """The kit's loss against that of the library's `GaussianDiffusion`, for the same images, timesteps and noise."""
    diffusion = baseline(setting.scale).to(setting.device)
    library = diffusion.as_library()
    x_0 = to_float(setting.images.images[:8].to(setting.device))
    eps = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(0)).to(setting.device)
    t = torch.arange(8, device=setting.device) * 125
    kit = LossModule(diffusion.model, diffusion.process, denoising_loss)
    return same_function(lambda x, t, e: library.p_losses(x, t, noise=e), kit, x_0, t, eps)


def preparing(
    setting: Setting, batch: int, executions: Mapping[str, tuple[str, ...]]
) -> Callable[[], contextlib.AbstractContextManager[Entries]]:
    """The variants of the row at one batch size."""

    @contextmanager
    def prepare() -> Iterator[Entries]:
        folder = write_pngs(setting.images, setting.scratch / "png", min(2_000, len(setting.images)))
        diffusion = baseline(setting.scale).to(setting.device)
        entries = {
            "library's Trainer": Variant("library", trainer_step(setting, folder, batch)),
            KIT: Variant("kit", training_step(diffusion, batch, images=setting.images)),
        }
        for name, treatments in executions.items():
            step = training_step(treat(diffusion, *treatments), batch, images=setting.images)
            entries[name] = Variant(name, step)
        yield entries

    return prepare
