"""Sums of cosines and sines at evenly spaced frequencies: an empirical characteristic function, in the memory of its input."""

from typing import Any

import torch
from torch import Tensor


def fourier_sums(x: Tensor, spacing: float, num_frequencies: int) -> Tensor:
    r"""Return :math:`\sum_n \cos(k \delta x_n)` and :math:`\sum_n \sin(k \delta x_n)` for k = 0, 1, ...

    One cosine and sine are computed for each entry; the powers of the complex number that they make give the other
    frequencies, in the backward pass again. Kept between the passes is ``x`` alone, not its product with all frequencies.

    Parameters
    ----------
    x : Tensor
        ``(..., N, K)`` float.
    spacing : float
        δ.
    num_frequencies : int
        F, counting frequency 0.

    Returns
    -------
    Tensor
        ``(2, F, ..., K)``, cosines first; differentiable once.
    """
    return _FourierSums.apply(x, spacing, num_frequencies)


class _FourierSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, spacing: float, num_frequencies: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.spacing = spacing
        cos_1, sin_1 = (x * spacing).cos(), (x * spacing).sin()
        cos, sin = torch.ones_like(x), torch.zeros_like(x)
        sums = [torch.stack([cos.sum(-2), sin.sum(-2)])]
        for _ in range(1, num_frequencies):
            cos, sin = cos * cos_1 - sin * sin_1, sin * cos_1 + cos * sin_1
            sums.append(torch.stack([cos.sum(-2), sin.sum(-2)]))
        return torch.stack(sums, dim=1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        cos_1, sin_1 = (x * ctx.spacing).cos(), (x * ctx.spacing).sin()
        cos, sin = torch.ones_like(x), torch.zeros_like(x)
        total = torch.zeros_like(x)
        for k in range(1, gradient.shape[1]):
            cos, sin = cos * cos_1 - sin * sin_1, sin * cos_1 + cos * sin_1
            of_cos, of_sin = (k * ctx.spacing * gradient[:, k]).unsqueeze(-2)
            total += cos * of_sin - sin * of_cos
        return total, None, None
