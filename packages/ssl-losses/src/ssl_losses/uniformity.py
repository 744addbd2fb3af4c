"""Uniformity: how evenly the samples cover the sphere."""

import math

import torch
from torch import Tensor

from ssl_losses.checks import check_embeddings, check_positive
from ssl_losses.components.loss import Loss
from ssl_losses.distributed import gather_with_gradient, sample_numbers, world_size
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.precision import widened, without_autocast
from ssl_losses.similarity.logsumexp import logsumexp, self_logsumexp


@without_autocast
def uniformity(*views: Tensor, t: float = 2.0) -> Tensor:
    r"""Return the uniformity loss (Wang & Isola 2020, https://arxiv.org/abs/2005.10242).

    .. math::
        \frac1V \sum_v \log \frac{1}{G (G - 1)} \sum_i \sum_{k \ne i} \exp(-t ‖\hat z_{v,i} - \hat z_{v,k}‖^2)

    over the pairs of the global batch, with rows normalised. On the sphere the squared distance is 2 - 2 cos, and the whole
    is a log-sum-exp of cosines, computed in tiles: memory grows with N·D, not with N².

    Parameters
    ----------
    *views : Tensor
        V >= 1 tensors ``(N, D)`` float, each a separate batch, as in the paper. At least 2 samples in the global batch.
    t : float
        The Gaussian's inverse width, above 0; the paper's 2.

    Returns
    -------
    Tensor
        Scalar, float32 or float64, between -4t and 0 (all rows equal). A zero row counts as orthogonal to all.

    Examples
    --------
    >>> opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    >>> round(uniformity(torch.eye(4)).item(), 4), round(uniformity(opposite).item(), 4)  # -2t and -4t
    (-4.0, -8.0)
    """
    check_positive(t=t)
    check_embeddings(*views, views=1, samples=2)
    samples = len(views[0]) * world_size()
    pairs = math.log(samples * (samples - 1))
    potentials = torch.stack([_log_sum(unit_rows(z), 2 * t) for z in widened(views)])
    return potentials.mean() - 2 * t - pairs


def _log_sum(z: Tensor, scale: float) -> Tensor:
    """Return the log-sum-exp over all pairs of different samples of the global batch."""
    itself = sample_numbers(z).unsqueeze(1)
    if world_size() == 1:
        return self_logsumexp(z, scale, itself).logsumexp(0)
    return gather_with_gradient(logsumexp(z, gather_with_gradient(z), scale, itself)).logsumexp(0)


class UniformityLoss(Loss):
    """:func:`uniformity` as a ``torch.nn.Module`` with the same options."""

    def __init__(self, t: float = 2.0) -> None:
        check_positive(t=t)
        super().__init__(t=t)

    def forward(self, *views: Tensor) -> Tensor:
        """Return the loss of V views ``(N, D)``."""
        return uniformity(*views, **self.options)
