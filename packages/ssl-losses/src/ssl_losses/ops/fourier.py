"""Sums of cosines and sines at evenly spaced frequencies: the empirical characteristic function, in O(N) memory.

Written by hand because autograd would keep the cosine and sine of each frequency for the backward pass.
"""

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
        ``(..., N, K)`` float32 or float64.
    spacing : float
        δ.
    num_frequencies : int
        F, counting frequency 0.

    Returns
    -------
    Tensor
        ``(F, ..., K, 2)``, the cosines and the sines; differentiable once.
    """
    return _FourierSums.apply(x, spacing, num_frequencies)


class _FourierSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, spacing: float, num_frequencies: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.spacing = spacing
        base = torch.polar(torch.ones_like(x), spacing * x)  # exp(iδx)
        power = torch.ones_like(base)
        sums = [power.sum(-2)]
        for _ in range(1, num_frequencies):
            power *= base
            sums.append(power.sum(-2))
        return torch.view_as_real(torch.stack(sums))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        base = torch.polar(torch.ones_like(x), -ctx.spacing * x)
        of_sums = torch.view_as_complex(gradient.contiguous()).unsqueeze(-2)  # (F, ..., 1, K)
        total = torch.zeros_like(base)
        # Horner: the sum of k g_k exp(-ikδx), whose imaginary part is the slope
        for k in range(len(of_sums) - 1, 0, -1):
            total += k * of_sums[k]
            total *= base
        return ctx.spacing * total.imag, None, None
