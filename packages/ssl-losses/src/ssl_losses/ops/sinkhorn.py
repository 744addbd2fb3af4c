"""Sinkhorn-Knopp: soft assignments that use all prototypes equally, over the global batch.

Written by hand because libraries of optimal transport (POT, OTT) balance the samples of one process, here all ranks' count.
"""

import torch
from torch import Tensor

from ssl_losses.checks import check_counts, check_temperature
from ssl_losses.distributed import all_reduce_with_gradient, gather_with_gradient
from ssl_losses.precision import widened, without_autocast


@torch.no_grad()
@without_autocast
def sinkhorn(scores: Tensor, temperature: float = 0.05, iterations: int = 3) -> Tensor:
    r"""Return the assignments of Sinkhorn-Knopp (Cuturi 2013, https://arxiv.org/abs/1306.0895; SwAV, Caron et al. 2020,
    https://arxiv.org/abs/2006.09882).

    .. math::
        Q = \mathrm{diag}(u) \, \exp(S / \varepsilon) \, \mathrm{diag}(v)

    where each iteration first scales the prototypes to equal totals over the samples of **all ranks**, then each sample to
    a total of 1. The scores stay logarithms throughout, so that none over- or underflows at any temperature.

    Parameters
    ----------
    scores : Tensor
        ``(N, K)`` float, the similarity of this rank's samples to the prototypes. N may differ from rank to rank, and be 0.
        With ``(..., N, K)`` each matrix is balanced by itself, e.g. each position of the images as in CAPI (Darcet et al. 2025,
        https://arxiv.org/abs/2502.08769).
    temperature : float
        ε, at least 1e-6; the paper's 0.05.
    iterations : int
        At least 0; the paper's 3. With 0 this is the softmax.

    Returns
    -------
    Tensor
        The shape of the scores, float32 or float64, without gradient. The rows sum to 1, the columns approximately to G / K.

    Raises
    ------
    ValueError
        For scores that are not ``(..., N, K)`` float, a temperature below 1e-6, or fewer than 0 iterations.

    Examples
    --------
    >>> scores = torch.tensor([[2.0, 1.0], [2.0, 1.0]])  # both samples prefer the first prototype, which has room for one
    >>> sinkhorn(scores).tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    check_temperature(temperature)
    check_counts(0, iterations=iterations)
    if scores.ndim < 2 or not scores.is_floating_point():
        raise ValueError(f"scores must be (..., N, K) float, got {scores.dtype} of shape {tuple(scores.shape)}")
    logits = widened([scores])[0] / temperature
    for iteration in range(iterations):
        if iteration == 0:
            logits -= _logsumexp_over_ranks(logits)
        else:  # shares of the samples: since the first iteration, a prototype has 1 / K of them at least, and no log underflows
            logits -= all_reduce_with_gradient(logits.softmax(-1).sum(-2, keepdim=True)).log()
    return logits.softmax(-1)


def _logsumexp_over_ranks(logits: Tensor) -> Tensor:
    """Return the log-sum-exp of each column over the rows of all ranks, ``(..., 1, K)``; only one row a rank travels."""
    return gather_with_gradient(logits.logsumexp(-2, keepdim=True).unsqueeze(0)).logsumexp(0)
