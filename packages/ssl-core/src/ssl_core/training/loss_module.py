"""The loss of a method as a module, so that DDP and ``torch.compile`` see all of it."""

import os
import tempfile
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from ssl_core.training.checks.method import loss_terms
from ssl_losses.precision import widened

CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


class LossModule(nn.Module):
    """``compute_loss`` as a forward pass; with a view, its embedding, for methods that compute the loss in two passes.

    Parameters
    ----------
    model : BaseModel
        The method. A submodule of this module.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model
        self._name = f"{type(model).__name__}.compute_loss"

    @classmethod
    def of(cls, model: nn.Module, compiled: bool) -> nn.Module:
        """Return the loss of a model, compiled if ``compiled``."""
        return compile_loss(cls(model)) if compiled else cls(model)

    def forward(self, view: Tensor | None = None) -> Any:
        """Return the terms of the loss by name, or the embedding ``(N, D)`` of a view ``(N, C, H, W)``."""
        return loss_terms(self.model.compute_loss(), self._name) if view is None else self.model.embed(view)


def total_loss(terms: Mapping[str, Tensor]) -> Tensor:
    """Return the sum of the terms that have a gradient, at least in float32. The other terms are only logged."""
    trained = [term for term in terms.values() if term.requires_grad]
    first, *others = widened(trained or list(terms.values()))
    return sum(others, first)


def compile_loss(module: nn.Module) -> nn.Module:
    """Return ``module``, compiled at its first call.

    A number that the loss reads (``self.progress.step``) and a buffer that grows (a queue) become variables of the compiled
    program. By default torch treats both as constants, compiles eight times, and then stops compiling. The settings hold for
    the whole process, and what an earlier run in it has compiled is dropped, so that a run does not depend on earlier ones.
    """
    _private_cache()
    torch._dynamo.reset()
    torch._dynamo.config.allow_unspec_int_on_nn_module = True
    torch._dynamo.config.force_parameter_static_shapes = False
    # Round where eager mode rounds. Otherwise a value that was rounded to bf16 is recomputed without rounding in the backward
    # pass: nothing equals its own maximum, and the gradient of amax (used by resnet9) is 0 / 0 (torch 2.15).
    return torch.compile(module, options={"emulate_precision_casts": True})  # type: ignore[return-value]


@cache
def _private_cache() -> "tempfile.TemporaryDirectory[str] | None":
    """Create a compiler cache for this process, removed at its end; None if the environment names one.

    The compiler writes kernels in place: a killed process leaves a truncated file, and each process that shares the cache
    fails on it.
    """
    if os.environ.get(CACHE_VARIABLE):
        return None
    folder = tempfile.TemporaryDirectory(prefix="ssl_core_compiled_", ignore_cleanup_errors=True)
    os.environ[CACHE_VARIABLE] = folder.name
    return folder
