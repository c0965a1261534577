"""Several devices: every copy of the model works on its share of the batch, and their gradients become one.

Exactness: exact

Nothing is left out and nothing is rounded anew: the gradient of a mean over the batch is the mean of the gradients over
its shares, up to the order of sums. `data_parallel` is one process that copies the weights to all GPUs and fetches all
answers in every step; `distributed` is one process a device, which keep their own weights and exchange gradients alone,
while the backward pass still runs. `replicated` is the first idea on one CPU, small enough to be read.

All three wrap a model or a `LossModule` and share its weights, so that an optimizer of the wrapped module's parameters
trains it. Shapes: the first dimension of every tensor is the batch, N; a scalar answer is a mean over the batch.
Source: PyTorch's `DataParallel` and `DistributedDataParallel` (Li et al., PyTorch Distributed, VLDB 2020).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

__all__ = ["Replicated", "data_parallel", "distributed", "replicated"]


def data_parallel(model: nn.Module, device_ids: Sequence[int] | None = None) -> nn.Module:
    """Wrap `model` so that every call splits its batch over several GPUs, by default all of them.

    The weights are those of `model`, which must lie on the first of the GPUs; its attributes stay within reach. Raises
    `ValueError` for fewer than two GPUs, one that is not here or named twice, and a model that lies elsewhere.
    """
    here = torch.cuda.device_count()
    chosen = list(range(here)) if device_ids is None else [int(index) for index in device_ids]
    if len(set(chosen)) < max(2, len(chosen)) or not all(0 <= index < here for index in chosen):
        raise ValueError(
            f"data_parallel needs at least 2 different GPUs, got device_ids={chosen} where torch finds {here}: "
            "leave it out on one device; replicated(model, n) shows the idea on a CPU"
        )
    lies = sorted({str(tensor.device) for tensor in (*model.parameters(), *model.buffers())})
    if lies and lies != [f"cuda:{chosen[0]}"]:
        raise ValueError(f"the model lies on {' and '.join(lies)}, wanted cuda:{chosen[0]}: move it with model.to(...)")
    return _DataParallel(model, chosen)  # pragma: no cover - CUDA


def distributed(module: nn.Module) -> nn.Module:
    """Wrap `module` for training in several processes: after each backward pass all have the mean of their gradients.

    It is what `train(wrap=...)` takes. At once the weights of process 0 go to all. Gradients lie in the buffers that
    are sent, as their copies would take as much memory again. Raises `ValueError` outside a group of processes.
    """
    if not dist.is_initialized():
        raise ValueError(
            "distributed needs a group of processes: start the command with torchrun, "
            "and call torch.distributed.init_process_group first"
        )
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    ids = [device.index] if device.type == "cuda" else None
    return DistributedDataParallel(module, device_ids=ids, gradient_as_bucket_view=True)


def replicated(model: nn.Module, n: int) -> Replicated:
    """Wrap `model` so that every call splits its batch over `n` copies, each in a thread; `DataParallel` by hand.

    On a CPU the copies compete for the same cores: it shows what is done, and gains nothing. Raises `ValueError` for
    n below 1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    return Replicated(model, n)


class _Wrapper(nn.Module):
    """A wrapper that takes from the module within what it lacks itself, such as `channels`."""

    def __getattr__(self, name: str) -> Any:
        """An attribute of the wrapper, or else of the module within."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)


class Replicated(_Wrapper):
    """What `replicated` returns. Statistics that a layer keeps (BatchNorm) are updated in the copies, and lost."""

    def __init__(self, module: nn.Module, n: int) -> None:
        super().__init__()
        self.module = module
        self.n = n

    def forward(self, *inputs: Any) -> Tensor:
        """Scatter the inputs, copy the weights, work on all shares at once, gather the answers."""
        shares = scattered(inputs, self.n)
        copies = [copied(self.module) for _ in shares]
        answers = applied(copies, shares)
        return gathered(answers, [_rows(share) for share in shares])


def scattered(inputs: Sequence[Any], n: int) -> list[tuple[Any, ...]]:
    """Cut each tensor into at most `n` shares along the batch; what is no tensor goes to every share."""
    cut = [one.chunk(n) if isinstance(one, Tensor) and one.ndim else None for one in inputs]
    count = max((len(parts) for parts in cut if parts is not None), default=1)
    return [
        tuple(one if parts is None else parts[i] for one, parts in zip(inputs, cut, strict=True)) for i in range(count)
    ]


def copied(module: nn.Module) -> nn.Module:
    """Copy a module for one call; the copy's weights are differentiable copies of its own.

    `clone` is an operation like any other: in the backward pass the gradient of each copy flows into the original, and
    those of all copies add up there.
    """
    return copy.deepcopy(module, {id(weight): weight.clone() for weight in module.parameters()})


def applied(copies: Sequence[nn.Module], shares: Sequence[tuple[Any, ...]]) -> list[Tensor]:
    """Call every copy on its share, each in a thread, under the gradient mode and autocast of the caller."""
    learning = torch.is_grad_enabled()
    halving, half = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    def call(module: nn.Module, share: tuple[Any, ...]) -> Tensor:
        with torch.set_grad_enabled(learning), torch.autocast("cpu", half, enabled=halving):
            answer: Tensor = module(*share)
        return answer

    with ThreadPoolExecutor(len(copies)) as threads:
        return list(threads.map(call, copies, shares))


def gathered(answers: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """Put the answers of all shares together: one batch, or, from a mean of each share, the mean of the batch."""
    if answers[0].ndim:
        return torch.cat(list(answers))
    weights = torch.tensor(sizes, dtype=answers[0].dtype, device=answers[0].device) / sum(sizes)
    return (torch.stack(list(answers)) * weights).sum()


def _rows(share: Sequence[Any]) -> int:
    """How many images a share has; 1 for a share without any tensor."""
    return next((len(one) for one in share if isinstance(one, Tensor) and one.ndim), 1)


class _DataParallel(_Wrapper, nn.DataParallel):  # pragma: no cover - CUDA
    """torch's `DataParallel` whose module stays within reach and whose scalars are means of the whole batch."""

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """Call the module on all GPUs."""
        self._sizes = [_rows(share) for share in scattered(inputs, len(self.device_ids))]
        return super().forward(*inputs, **kwargs)

    def gather(self, outputs: Any, output_device: Any) -> Any:
        """Fetch the answers of all GPUs to the first."""
        if not isinstance(outputs[0], Tensor) or outputs[0].ndim:
            return super().gather(outputs, output_device)
        return gathered([one.to(self.src_device_obj) for one in outputs], self._sizes)
