"""Custom operators: a loop over tiles that autograd and ``torch.compile`` see as one step.

``torch.library.custom_op`` would read better, but its first call imports torch's compiler, which takes seconds.
"""

from collections.abc import Callable
from typing import Any

import torch

LIBRARY = torch.library.Library("ssl_losses", "FRAGMENT")  # an operator lives as long as the library that defined it


def operator(schema: str, fake: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that makes a function an operator.

    The function may neither change its arguments nor return one of them.

    Parameters
    ----------
    schema : str
        Name, arguments and result, as in ``"product(Tensor a, Tensor b) -> Tensor"``.
    fake : Callable
        What the function returns, by shape and type only, for ``torch.compile``.
    """

    def define(function: Callable[..., Any]) -> Callable[..., Any]:
        name = schema.partition("(")[0]
        LIBRARY.define(schema)
        LIBRARY.impl(name, function, "CompositeExplicitAutograd")
        torch.library.register_fake(f"ssl_losses::{name}", fake, lib=LIBRARY)
        return getattr(torch.ops.ssl_losses, name).default

    return define


def differentiate(name: str, gradient: Callable[..., Any], keep: Callable[..., None] | None = None) -> None:
    """Give an operator its backward pass: ``gradient(ctx, *gradients)``, with what ``keep(ctx, inputs, output)`` kept."""
    torch.library.register_autograd(f"ssl_losses::{name}", gradient, setup_context=keep, lib=LIBRARY)


def not_differentiable(name: str) -> None:
    """Let a backward pass through this operator fail, where torch would warn and leave the gradient out."""

    def fail(ctx: Any, *gradients: Any) -> None:
        raise RuntimeError(f"ssl_losses::{name} has no derivative: losses in tiles are differentiable once")

    differentiate(name, fail)
