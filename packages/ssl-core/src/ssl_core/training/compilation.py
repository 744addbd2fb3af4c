"""``torch.compile``, set up for a loss that lives in a module: once for the run, not once a step."""

import os
import tempfile
from functools import cache

import torch
import torch._dynamo
from torch import nn

CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


@cache
def _private_cache() -> "tempfile.TemporaryDirectory[str] | None":
    """Give this process a cache of the compiler's own, removed at its end; None where the environment names one.

    The compiler writes kernels in place: a process that is killed meanwhile leaves a truncated file, and every later one that
    shares the cache fails on it.
    """
    if os.environ.get(CACHE_VARIABLE):
        return None
    folder = tempfile.TemporaryDirectory(prefix="ssl_core_compiled_", ignore_cleanup_errors=True)
    os.environ[CACHE_VARIABLE] = folder.name
    return folder


def compile_loss(module: nn.Module) -> nn.Module:
    """Return ``module``, compiled when it is called first.

    What changes from step to step becomes a variable of the compiled program after its first change: a counter that the loss
    reads (``self.progress.step``, for a temperature on a schedule, say) and a buffer that grows (the queue of MoCo or NNCLR).
    As it comes, torch takes both for constants of a module, compiles eight times, and then goes on without the compiler, for
    good. The two settings hold for the whole process; what an earlier run in it has compiled is forgotten, so that a run is the
    same alone and after another.
    """
    _private_cache()
    torch._dynamo.reset()
    torch._dynamo.config.allow_unspec_int_on_nn_module = True
    torch._dynamo.config.force_parameter_static_shapes = False
    # Rounded where it is without the compiler. As it comes, a value that was rounded to bf16 is computed again without it in
    # the backward pass: nothing equals its own maximum, and the gradient of amax (resnet9 has one) is 0 / 0 (torch 2.15).
    return torch.compile(module, options={"emulate_precision_casts": True})  # type: ignore[return-value]
