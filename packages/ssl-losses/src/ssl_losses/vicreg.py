"""VICReg: variance, invariance, covariance."""

from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_losses.checks import check_embeddings, check_not_negative, widened, without_autocast
from ssl_losses.distributed import gather

EPSILON = 1e-4  # in the square root, the paper's


@without_autocast
def vicreg(*views: Tensor, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0) -> Tensor:
    r"""Return the VICReg loss (Bardes, Ponce & LeCun 2022, https://arxiv.org/abs/2105.04906).

    .. math::
        \lambda \, \frac{1}{GD} ‖z_1 - z_2‖^2
        + \frac{\mu}{V} \sum_v \frac1D \sum_j \max(0, 1 - \sqrt{\mathrm{Var}(z_{v,j}) + \epsilon})
        + \frac{2 \nu}{V} \sum_v \frac1D \sum_{i \ne j} [\mathrm{Cov}(z_v)]_{ij}^2

    over the global batch, with unbiased variance and covariance. For two views these are the weights of the authors'
    code: the mean of the views' variance terms, the sum of their covariance terms. With V views the invariance is the
    mean over all pairs.

    Parameters
    ----------
    *views : Tensor
        V >= 2 tensors ``(N, D)`` float.
    invariance, variance, covariance : float
        λ, μ and ν of the paper.

    Returns
    -------
    Tensor
        Scalar, float32 at least.

    Raises
    ------
    ValueError
        For fewer than two views or two samples, shapes that differ, integers, or a negative weight.
    """
    check_embeddings(*views)
    check_not_negative(invariance=invariance, variance=variance, covariance=covariance)
    everything = [gather(z) for z in widened(views)]
    check_embeddings(*everything, samples=2)
    pairs = list(combinations(everything, 2))
    distance = torch.stack([F.mse_loss(a, b) for a, b in pairs]).mean()
    spread = torch.stack([F.relu(1 - (z.var(0) + EPSILON).sqrt()).mean() for z in everything]).mean()
    shared = torch.stack([_off_diagonal(z) for z in everything]).sum() * 2 / len(everything)
    return invariance * distance + variance * spread + covariance * shared


def _off_diagonal(z: Tensor) -> Tensor:
    """Return the sum of the squared covariances of different dimensions, divided by D."""
    centered = z - z.mean(0)
    covariance = centered.T @ centered / (len(z) - 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / z.shape[1]


class VICRegLoss(nn.Module):
    """:func:`vicreg` as a module."""

    def __init__(self, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0) -> None:
        super().__init__()
        check_not_negative(invariance=invariance, variance=variance, covariance=covariance)
        self.invariance, self.variance, self.covariance = invariance, variance, covariance

    def forward(self, *views: Tensor) -> Tensor:
        """Return the loss of V views ``(N, D)``."""
        return vicreg(*views, invariance=self.invariance, variance=self.variance, covariance=self.covariance)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"invariance={self.invariance}, variance={self.variance}, covariance={self.covariance}"
