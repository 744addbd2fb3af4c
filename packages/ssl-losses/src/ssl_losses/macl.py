"""MACL: a contrastive loss whose temperature follows the model's alignment."""

import torch
from torch import Tensor

from ssl_losses.checks import LOWEST_TEMPERATURE, check_embeddings, check_shares, check_temperature
from ssl_losses.components.loss import Loss
from ssl_losses.distributed import mean_over_ranks
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.ops.softplus import softplus
from ssl_losses.precision import widened, without_autocast
from ssl_losses.similarity.negatives import negatives


@without_autocast
def macl(z1: Tensor, z2: Tensor, temperature: float = 0.1, alpha: float = 0.5, a_0: float = 0.0) -> Tensor:
    r"""Return the model-aware contrastive loss (Huang, Chen, Wen, Zhang, Li, Wang & Chen 2023,
    https://arxiv.org/abs/2207.07874).

    .. math::
        -\frac1{2G} \sum_i \frac{\log P_i}{1 - P_i}, \qquad
        P_i = \frac{\exp(s_{i,p(i)} / \tau)}{\sum_{k \ne i} \exp(s_{ik} / \tau)}, \qquad
        \tau = \tau_0 \, (1 + \alpha (A - A_0))

    with NT-Xent's similarities s over all 2G embeddings of the global batch, and the alignment A, the mean similarity of the
    G positive pairs. τ and the weight 1 / (1 - P) count as constants: the gradient is that of the log-odds of the
    positives, which does not fade where P is near 1. The similarities are computed in tiles: memory grows with N·D, not
    with N². (The authors' snippet has P over the other view only, which halves the negatives; this is the paper's SimCLR.)

    Parameters
    ----------
    z1, z2 : Tensor
        ``(N, D)`` float, the two views of this rank's samples; any scale, rows are normalised here. At least 2
        samples in the global batch, else there is no negative.
    temperature : float
        τ₀, at least 1e-6; the paper's 0.1.
    alpha : float
        α, between 0 and 1, how far τ follows the alignment; 0.5.
    a_0 : float
        A₀, between 0 and 1, the alignment at which τ is τ₀; 0. Where α (A - A₀) falls to -1 or below, the paper's τ
        has no meaning, and 1e-6 is taken.

    Returns
    -------
    Tensor
        Scalar, float32 or float64, at least 1: the mean over the global batch. A zero row has similarity 0 to all.

    Examples
    --------
    >>> z = torch.eye(4)
    >>> round(macl(z, z, temperature=1.0, alpha=0.0).item(), 4)  # NT-Xent's log(1 + 6 / e), by 1 - P = 6 / (6 + e)
    1.6934
    """
    _check_options(temperature, alpha, a_0)
    check_embeddings(z1, z2, samples=2)
    a, b = (unit_rows(z) for z in widened((z1, z2)))
    alignment = mean_over_ranks((a * b).sum(1).mean()).detach()
    adapted = (temperature * (1 + alpha * (alignment - a_0))).clamp_min(LOWEST_TEMPERATURE)
    a, b = a / adapted.sqrt(), b / adapted.sqrt()  # a tensor cannot be the scale; reading it would wait for the device
    gap = negatives(a, b, scale=1.0) - (a * b).sum(1).repeat(2)
    return mean_over_ranks(_reweighted(gap).mean())


def _reweighted(gap: Tensor) -> Tensor:
    """Return ``-log P / (1 - P)`` for P = sigmoid(-gap), with the gradient of a constant denominator.

    The slope of -log P is 1 - P, so that the weighted loss has the slope 1: that of the gap itself, with nothing to divide.
    """
    loss = softplus(gap.detach())  # -log P
    value = torch.where(loss > 0, loss / -torch.expm1(-loss), 1.0)
    return value + (gap - gap.detach())


def _check_options(temperature: float, alpha: float, a_0: float) -> None:
    check_temperature(temperature)
    check_shares(alpha=alpha, a_0=a_0)


class MACLLoss(Loss):
    """:func:`macl` as a ``torch.nn.Module`` with the same options."""

    def __init__(self, temperature: float = 0.1, alpha: float = 0.5, a_0: float = 0.0) -> None:
        _check_options(temperature, alpha, a_0)
        super().__init__(temperature=temperature, alpha=alpha, a_0=a_0)

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the loss of two views ``(N, D)``."""
        return macl(z1, z2, **self.options)
