"""Inspect one training batch: its inputs, and the first module whose output is not finite."""

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ssl_core.base_model import BaseModel
from ssl_core.batch import Batch
from ssl_core.run.progress import Progress
from ssl_core.training.checks.method import loss_terms
from ssl_core.training.seeding import seed_step

LARGEST = 5  # weights that are named


@dataclass
class StepInput:
    """What one batch of a step begins with."""

    progress: Progress
    state: dict[str, Any]  # of the model
    batch: Batch


@dataclass
class StepInspection:
    """Inputs, loss and gradients of one batch on one rank."""

    epoch: int
    batch: int
    step: int
    rank: int
    samples: list[int]  # ids
    views: list[str]  # shape and range of each
    terms: dict[str, float]  # of the loss
    module: str | None = None  # the first whose output is not finite, and the range of its inputs
    gradients: list[str] = field(default_factory=list)  # parameters whose gradient, of this rank, is not finite
    num_gradients: int = 0  # parameters that have one
    weights: list[str] = field(default_factory=list)  # the largest

    def __str__(self) -> str:
        gradients = f"finite in all {self.num_gradients} parameters"
        if self.gradients:
            names = ", ".join(self.gradients)
            gradients = f"not finite in {len(self.gradients)} of {self.num_gradients} parameters: {names}"
        rows = [
            ("terms", ", ".join(f"{name} {value!r}" for name, value in self.terms.items())),
            ("samples", f"{len(self.samples)}: {' '.join(map(str, self.samples))}"),
            *((f"view {k}", view) for k, view in enumerate(self.views)),
            ("module", self.module or "the output of every module is finite"),
            ("gradients", gradients),
            ("weights", f"the largest are {', '.join(self.weights)}"),
        ]
        return "\n".join(f"{name:<10} {text}" for name, text in rows)


def inspect_step(model: BaseModel, step: StepInput) -> StepInspection:
    """Compute the loss and the gradients of one batch again, watching every module; restore the model afterwards.

    The gradients are those of this rank, before they are averaged. Nothing is compiled, so that every module can be watched.

    """
    progress, batch = step.progress, step.batch
    before = model.progress, model.data, copy.deepcopy(model.state_dict())
    samples = batch.ids.tolist()
    views = [f"{tuple(view.shape)} {str(view.dtype).removeprefix('torch.')}: {_range(view)}" for view in batch.views]
    model.load_state_dict(step.state)
    model.progress, model.data = progress, batch
    seed_step(model.config.hardware.seed, progress.epoch, progress.batch, model.run.distributed.rank)
    model.before_train_step()
    with _first_non_finite_module(model) as module, model.run.precision.autocast():
        terms = loss_terms(model.compute_loss(), f"{type(model).__name__}.compute_loss")
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    total = torch.stack([term.double() for term in terms.values()]).sum()
    gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    named = {name: gradient for name, gradient in zip(parameters, gradients) if gradient is not None}
    sizes = sorted(((p.detach().abs().max().item(), name) for name, p in parameters.items() if p.numel()), reverse=True)
    model.progress, model.data = before[:2]
    model.load_state_dict(before[2])
    model.probes.forget()
    return StepInspection(
        epoch=progress.epoch,
        batch=progress.batch,
        step=progress.step,
        rank=model.run.distributed.rank,
        samples=samples,
        views=views,
        terms={name: term.item() for name, term in terms.items()},
        module=next(iter(module), None),
        gradients=[name for name, gradient in named.items() if not torch.isfinite(gradient).all()],
        num_gradients=len(named),
        weights=[f"{name} {size:.4g}" for size, name in sizes[:LARGEST]],
    )


@contextlib.contextmanager
def _first_non_finite_module(model: nn.Module) -> Iterator[list[str]]:
    """Yield a list that gets a sentence about the first module whose output is not finite."""
    found: list[str] = []
    inputs: dict[nn.Module, str] = {}  # their ranges, taken before a module may change them in place

    def before(module: nn.Module, args: Any) -> None:
        if not found:
            inputs[module] = "; ".join(map(_range, _tensors(args)))

    def after(module: nn.Module, args: Any, output: Any, name: str) -> None:
        for tensor in [] if found else _tensors(output):
            bad = int((~torch.isfinite(tensor)).sum())
            if bad and not found:
                found.append(
                    f"{name} ({type(module).__name__}) is the first whose output is not finite, in {bad} of {tensor.numel()} "
                    f"values; its input: {inputs.get(module, 'unknown')}"
                )

    with contextlib.ExitStack() as hooks:
        for name, module in model.named_modules():
            if name:
                hooks.callback(module.register_forward_pre_hook(before).remove)
                hooks.callback(module.register_forward_hook(partial(after, name=name)).remove)
        yield found


class _Watch:
    """Forward hooks that remember the first module whose output is not finite."""

    def __init__(self) -> None:
        self.found: str | None = None
        self._inputs: dict[nn.Module, str] = {}  # their ranges, taken before a module may change them in place
        self._hooks: list[Any] = []

    def on(self, model: nn.Module) -> "_Watch":
        for name, module in model.named_modules():
            if name:
                self._hooks.append(module.register_forward_pre_hook(self._before))
                self._hooks.append(
                    module.register_forward_hook(lambda module, _, output, name=name: self._after(name, module, output))
                )
        return self

    def __enter__(self) -> "_Watch":
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _before(self, module: nn.Module, inputs: Any) -> None:
        if self.found is None:
            self._inputs[module] = "; ".join(_range(tensor) for tensor in _tensors(inputs))

    def _after(self, name: str, module: nn.Module, output: Any) -> None:
        if self.found is not None:
            return
        for tensor in _tensors(output):
            bad = int((~torch.isfinite(tensor)).sum())
            if bad:
                self.found = (
                    f"{name} ({type(module).__name__}) is the first whose output is not finite, in {bad} of {tensor.numel()} "
                    f"values; its input: {self._inputs.get(module, 'unknown')}"
                )
                return


def _tensors(value: Any) -> list[Tensor]:
    """Return the floating-point tensors in nested tuples, lists and dicts."""
    tensors = [each.detach() for each in tree_leaves(value) if isinstance(each, Tensor)]
    return [tensor for tensor in tensors if tensor.is_floating_point() and tensor.numel()]


def _range(tensor: Tensor) -> str:
    values = tensor.detach().double()
    finite = values[torch.isfinite(values)]
    if not len(finite):
        return "nothing in it is finite"
    low, mean, high, deviation = finite.min(), finite.mean(), finite.max(), finite.std(correction=0)
    bad = values.numel() - len(finite)
    more = f", {bad} of {values.numel()} not finite" if bad else ""
    return f"min {low:.4g}, mean {mean:.4g}, max {high:.4g}, deviation {deviation:.4g}{more}"
