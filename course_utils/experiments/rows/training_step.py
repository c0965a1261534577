"""The training step: the library's `Trainer`, its evaluation switched off, against the kit's loop.

One step is: fetch a batch, forward, backward, clip, Adam, EMA. The `Trainer` keeps its habits: PNG files and workers,
the loss read at every step, the progress bar, EMA of 0.995 every tenth step. Only its evaluation is off: 50,000 samples
every 1,000 steps would cost about a thousand times the training in between.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from course_utils.diffusion import EMA, Batches, LossModule, Stepper, TrainState, adam, baseline, denoising_loss
from course_utils.experiments.rows import Entries, Row, Setting
from course_utils.experiments.rows.data_loading import write_pngs
from course_utils.measure import Variant

__all__ = ["ROWS"]

ORDER = 30
DEFAULT_BATCH = 16  # the Trainer's own default, and the least that it accepts


def trainer_step(setting: Setting, folder: Path, batch: int) -> Callable[[], None]:
    """One step of the library's `Trainer` at a time, with its bar written to nowhere."""
    from accelerate.state import AcceleratorState, PartialState
    from denoising_diffusion_pytorch import Trainer

    AcceleratorState._reset_state(reset_partial_state=True)  # one a process, or the second Trainer fails
    PartialState(cpu=setting.device.type == "cpu")  # or the Trainer takes whatever accelerator it finds
    trainer = Trainer(
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


def kit_step(setting: Setting, batch: int) -> Callable[[], object]:
    """One step of the kit's loop at a time, everything in fp32 and eager."""
    diffusion = baseline(setting.scale).to(setting.device)
    diffusion.model.train()
    batches = Batches(setting.images, batch, device=setting.device)
    state = TrainState(diffusion, EMA(diffusion.model, 0.9995))
    stepper = Stepper(state, adam(), LossModule(diffusion.model, diffusion.process, denoising_loss))
    return lambda: stepper.step(batches)


def ROWS(setting: Setting) -> Iterator[Row]:
    """One row at the Trainer's default batch, and one at the scale's own where that is larger."""
    for batch in sorted({DEFAULT_BATCH, max(DEFAULT_BATCH, setting.scale.batch_size)}):
        step = f"fetch {batch} images, forward, backward, clip, Adam, EMA"
        yield Row(f"training step, batch {batch}", step, batch, preparing(setting, batch), config={"batch": batch})


def preparing(setting: Setting, batch: int) -> Callable[[], contextlib.AbstractContextManager[Entries]]:
    """The variants of the row at one batch size."""

    @contextmanager
    def prepare() -> Iterator[Entries]:
        folder = write_pngs(setting.images, setting.scratch / "png", min(2_000, len(setting.images)))
        yield {
            "library's Trainer": Variant("library", trainer_step(setting, folder, batch)),
            "the kit's loop": Variant("kit", kit_step(setting, batch)),
        }

    return prepare
