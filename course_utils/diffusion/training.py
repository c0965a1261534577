"""One training loop for every model and every treatment.

What differs between runs comes in from outside: the loss (distillation), a wrapper around the loss module (several
devices, compilation), the context of a step (autocast), the optimizer, and the hooks that observe or stop it. The loop
never waits for the device except where it reads losses, every `log_every` steps.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from course_utils.diffusion.baseline import Diffusion
from course_utils.diffusion.ema import EMA
from course_utils.diffusion.losses import Loss, denoising_loss
from course_utils.diffusion.optimizers import MakeOptimizer, Moments, adam, restore_moments, saved_moments
from course_utils.diffusion.process import Process
from course_utils.diffusion.readings import NotFiniteError, Readings, StepInfo
from course_utils.diffusion.seeds import mixed_seed

__all__ = ["LossModule", "NotFiniteError", "StepInfo", "Stepper", "TrainState", "train"]

Region = Callable[[str], AbstractContextManager[object]]


@dataclass
class TrainState:
    """All that a run needs to go on: what `train` returns and takes, and what a checkpoint stores.

    `step` counts the steps done. `moments` is the optimizer's memory by parameter name, `scaler` the loss scaler's
    state in plain numbers, empty where none was used. `losses` are those of the steps done in this process, oldest
    first; they are not stored.
    """

    diffusion: Diffusion
    ema: EMA
    step: int = 0
    seed: int = 0
    images_seen: int = 0
    optimizer: str = ""
    moments: Moments = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"TrainState(step {self.step:,}, {self.images_seen:,} images seen, seed {self.seed}, {self.diffusion!r})"

    def with_model(self, model: nn.Module) -> "TrainState":
        """Go on with another execution of the same weights, such as another layout; see `Diffusion.with_model`."""
        return replace(self, diffusion=self.diffusion.with_model(model))

    def averaged(self) -> Diffusion:
        """Build the model with the averaged weights, ready to be sampled from."""
        return self.ema.copy_of(self.diffusion)


class LossModule(nn.Module):
    """The mean loss of a batch as one module: what DistributedDataParallel and torch.compile wrap.

    Wrapping here, and not around the model, keeps the model's own attributes within reach.
    """

    def __init__(self, model: nn.Module, process: Process, loss: Loss) -> None:
        super().__init__()
        self.model = model
        self.process = process
        self.loss = loss

    def forward(self, x_0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """Mean loss of the batch, a scalar."""
        return self.loss(self.model, self.process, x_0, t, eps).mean()


def train(
    diffusion: Diffusion,
    batches: Callable[[int], Tensor],
    *,
    num_steps: int,
    optimizer: MakeOptimizer | None = None,
    loss: Loss = denoising_loss,
    ema_decay: float | None = None,
    scaler: GradScaler | None = None,
    clip_norm: float | None = 1.0,
    seed: int | None = None,
    rank: int = 0,
    world_size: int = 1,
    average: Callable[[Tensor], Tensor] | None = None,
    state: TrainState | None = None,
    step_context: Callable[[], AbstractContextManager[object]] = nullcontext,
    wrap: Callable[[nn.Module], Callable[..., Tensor]] | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_step: Callable[[StepInfo], None] | None = None,
    checkpoint: Callable[[TrainState], None] | None = None,
    checkpoint_every: int = 1_000,
    region: Region | None = None,
    log_every: int = 10,
) -> TrainState:
    """Train `diffusion.model` in place until `num_steps` steps have been done in all, and return the state.

    `batches(step)` gives x_0, float32 (N, C, H, W) in [-1, 1], on the device of the model. Timesteps and noise of a
    step depend on (seed, step) alone, so a run that is stopped and continued with `state` sees what an uninterrupted
    one would: the same losses, to the bit, on the same machine (on a GPU with
    `torch.backends.cudnn.deterministic = True`, or its sums differ in the last digits). `optimizer` makes one from
    parameters, by default `adam()`; its memory comes from the state, its options from here. `ema_decay` is the
    state's, or 0.9995, unless given. `scaler` multiplies the loss, so that gradients in float16 do not vanish; a step
    whose gradients overflow under it changes no weights, lowers the scale and counts as done. `wrap` wraps the
    `LossModule`; `step_context` surrounds the forward pass; `region(name)` surrounds the phases data, forward,
    backward, optimizer and ema. `should_stop` is asked after every step; with several processes it must answer the
    same in all. `checkpoint` is called every `checkpoint_every` steps, once all losses up to there are known to be
    finite.

    With several processes each calls `train` with its `rank` of `world_size`, as its `Batches` have them, a `wrap` that
    averages gradients (`speedups.distributed`), and `average`, which gives the mean of a tensor over all processes and
    is asked when losses are read. Each draws the timesteps and noise of all N x world_size images and takes its own, so
    that a run does not depend on how its batch is split. `images_seen` counts the images of all.

    Raises `NotFiniteError` with the step at which a loss or gradient was NaN or infinite (with a scaler: a loss, or a
    scale below `LEAST_SCALE`), and `ValueError` when the state belongs to another model, optimizer or seed, a batch
    lies on another device than the model, a scaler is given for float16 weights, whose gradients it cannot serve, or
    `rank` is not below `world_size`.
    """
    state = _begun(diffusion, state, ema_decay, seed)
    module = LossModule(diffusion.model, diffusion.process, loss)
    share = {"rank": rank, "world_size": world_size}
    loop = Stepper(state, optimizer or adam(), wrap(module) if wrap else module, clip_norm, region, scaler, **share)
    log = Readings(log_every, state.images_seen, average)
    was_training = diffusion.model.training
    diffusion.model.train()
    try:
        while state.step < num_steps:
            log.add(*loop.step(batches, step_context), loop.scale())
            stopping = state.step == num_steps or (should_stop is not None and should_stop())
            saving = checkpoint is not None and state.step % checkpoint_every == 0
            info = log.info(state.step, state.images_seen, read=stopping or saving)
            state.losses += log.taken()
            if on_step is not None:
                on_step(info)
            if checkpoint is not None and saving:
                loop.keep()
                checkpoint(state)
            if stopping:
                break
    finally:
        diffusion.model.train(was_training)
    loop.keep()
    return state


class Stepper:
    """One training step after another, on demand: data, forward, backward, optimizer, EMA.

    `train` drives one; a benchmark drives one step by step. `loss_of(x_0, t, eps)` is a `LossModule`, wrapped or not.
    `rank` of `world_size` says which part of the global batch this process works on.
    """

    def __init__(
        self,
        state: TrainState,
        make_optimizer: MakeOptimizer,
        loss_of: Callable[..., Tensor],
        clip_norm: float | None = 1.0,
        region: Region | None = None,
        scaler: GradScaler | None = None,
        *,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be at least 0 and below world_size, got {rank=} {world_size=}")
        self.state, self.model = state, state.diffusion.model
        self.rank, self.world_size = rank, world_size
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = _continued(make_optimizer(self.parameters), state)
        self.loss_of = loss_of
        self.clip_norm = math.inf if clip_norm is None else clip_norm
        self.region = region or (lambda name: nullcontext())
        self.device = state.diffusion.device
        self.random = torch.Generator(self.device)
        self.scaler = _fitting(scaler, state)

    def step(
        self,
        batches: Callable[[int], Tensor],
        context: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> tuple[Tensor, Tensor]:
        """Do one step; return its loss and its gradient norm before clipping, both still on the device."""
        state, region = self.state, self.region
        with region("data"):
            x_0 = self._here(batches(state.step))  # (N, C, H, W)
            t, eps = self._draw(x_0)
        with region("forward"), context():
            loss = self.loss_of(x_0, t, eps)
        with region("backward"):
            (self.scaler.scale(loss) if self.scaler else loss).backward()
        with region("optimizer"):
            norm = self._update()
        state.step += 1
        state.images_seen += len(x_0) * self.world_size
        with region("ema"):
            state.ema.update(self.model, state.step)
        return loss.detach(), norm

    def scale(self) -> Tensor | None:
        """The factor on the loss of the coming step, still on the device; None without a scaler."""
        return self.scaler.scale(torch.ones((), device=self.device)) if self.scaler else None

    def _update(self) -> Tensor:
        """Clip and apply the gradients, or drop them where they overflowed under a scaler; return their norm."""
        if self.scaler:
            self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def _here(self, x_0: Tensor) -> Tensor:
        """The batch, once it is known to lie with the model."""
        if x_0.device != self.device:
            raise ValueError(
                f"the batch lies on {x_0.device}, the model on {self.device}: "
                "pass Batches(..., device=diffusion.device)"
            )
        return x_0

    def _draw(self, x_0: Tensor) -> tuple[Tensor, Tensor]:
        """Timesteps (N,) and noise (N, C, H, W) of the coming step: our part of what is drawn for the global batch."""
        self.random.manual_seed(mixed_seed(self.state.seed, self.state.step, 0))
        n, num_timesteps = len(x_0), self.state.diffusion.process.num_timesteps
        total, own = n * self.world_size, slice(n * self.rank, n * (self.rank + 1))
        t = torch.randint(num_timesteps, (total,), generator=self.random, device=x_0.device)
        eps = torch.randn(total, *x_0.shape[1:], generator=self.random, device=x_0.device, dtype=x_0.dtype)
        return t[own], eps[own]

    def keep(self) -> None:
        """Write the memory of the optimizer and of the scaler into the state."""
        self.state.optimizer = type(self.optimizer).__name__
        self.state.moments = saved_moments(self.optimizer, self.model)
        self.state.scaler = dict(self.scaler.state_dict()) if self.scaler else {}


def _begun(diffusion: Diffusion, state: TrainState | None, ema_decay: float | None, seed: int | None) -> TrainState:
    """The state to go on from: a new one, or the given one once it is known to fit."""
    if state is None:
        return TrainState(diffusion, EMA(diffusion.model, 0.9995 if ema_decay is None else ema_decay), seed=seed or 0)
    if state.diffusion.model is not diffusion.model:
        raise ValueError("the state belongs to another model; pass state.diffusion, or state.with_model(model)")
    if seed not in (None, state.seed):
        raise ValueError(
            f"seed is {seed}, but the state was trained with seed {state.seed}; leave seed out to go on with it"
        )
    state.ema.decay = state.ema.decay if ema_decay is None else ema_decay
    return state


def _continued(optimizer: torch.optim.Optimizer, state: TrainState) -> torch.optim.Optimizer:
    """A fresh optimizer with the memory of the state's, if it has any."""
    name = type(optimizer).__name__
    if state.moments and name != state.optimizer:
        raise ValueError(f"the state was trained with {state.optimizer}, not with {name}; pass the same optimizer")
    restore_moments(optimizer, state.diffusion.model, state.moments)
    return optimizer


def _fitting(scaler: GradScaler | None, state: TrainState) -> GradScaler | None:
    """The scaler with the memory of the state's, if there is any; None where there is none or it is switched off."""
    if scaler is None or not scaler.is_enabled():
        return None
    trained = (parameter for parameter in state.diffusion.model.parameters() if parameter.requires_grad)
    if any(parameter.dtype == torch.float16 for parameter in trained):
        raise ValueError(
            "a scaler cannot serve weights in float16, only float32 ones that compute in it: train under autocast "
            "(half_precision with mode='autocast'), or in bfloat16"
        )
    if state.scaler:
        scaler.load_state_dict(state.scaler)
    return scaler
