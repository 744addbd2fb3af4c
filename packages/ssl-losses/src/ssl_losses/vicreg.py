"""VICReg: variance, invariance, covariance."""

from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_losses.checks import check_embeddings, check_weights
from ssl_losses.components.loss import Loss
from ssl_losses.distributed import mean_over_ranks
from ssl_losses.ops.covariance import centered, off_diagonal, sum_of_products, total_rows
from ssl_losses.precision import widened, without_autocast

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
        V >= 2 tensors ``(N, D)`` float; at least 2 samples in the global batch.
    invariance, variance, covariance : float
        λ, μ and ν of the paper.

    Returns
    -------
    Tensor
        Scalar, float32 or float64.

    Examples
    --------
    >>> z = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])  # spread, and uncorrelated
    >>> vicreg(z, z).item(), vicreg(z, z + 1).item()
    (0.0, 25.0)
    """
    check_weights(invariance=invariance, variance=variance, covariance=covariance)
    check_embeddings(*views, samples=2)
    z = torch.stack(widened(views))  # (V, N, D)
    distance = mean_over_ranks(torch.stack([F.mse_loss(a, b) for a, b in combinations(z, 2)]).mean())
    spread, shared = variance_and_covariance(centered(z))
    return invariance * distance + variance * spread.mean() + 2 * covariance * shared.mean()


def variance_and_covariance(z: Tensor) -> tuple[Tensor, Tensor]:
    """Return the variance and the covariance term of each view of centred ``(V, N, D)``, ``(V,)`` both."""
    covariances = sum_of_products(z, z) / (total_rows(z) - 1)  # (V, D, D)
    deviations = (covariances.diagonal(dim1=-2, dim2=-1) + EPSILON).sqrt()
    return F.relu(1 - deviations).mean(1), off_diagonal(covariances).square().sum((1, 2)) / z.shape[2]


class VICRegLoss(Loss):
    """:func:`vicreg` as a ``torch.nn.Module`` with the same options."""

    def __init__(self, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0) -> None:
        check_weights(invariance=invariance, variance=variance, covariance=covariance)
        super().__init__(invariance=invariance, variance=variance, covariance=covariance)

    def forward(self, *views: Tensor) -> Tensor:
        """Return the loss of V views ``(N, D)``."""
        return vicreg(*views, **self.options)
