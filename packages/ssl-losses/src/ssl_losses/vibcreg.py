"""VIbCReg: variance, invariance, and a better covariance."""

from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_losses.checks import check_embeddings, check_weights
from ssl_losses.components.loss import Loss
from ssl_losses.distributed import mean_over_ranks
from ssl_losses.ops.covariance import centered, mean_square, off_diagonal, sum_of_products, total_rows
from ssl_losses.ops.normalize import unit_columns
from ssl_losses.precision import widened, without_autocast

EPSILON = 1e-4  # in the square root, as in VICReg


@without_autocast
def vibcreg(*views: Tensor, invariance: float = 25.0, variance: float = 25.0, covariance: float = 200.0) -> Tensor:
    r"""Return the VIbCReg loss (Lee & Aune 2021, https://arxiv.org/abs/2109.00783).

    .. math::
        \lambda \, \frac{1}{GD} ‖z_1 - z_2‖^2
        + \frac{2 \mu}{V} \sum_v \frac1D \sum_j \max(0, 1 - \sqrt{\mathrm{Var}(z_{v,j}) + \epsilon})
        + \frac{2 \nu}{V} \sum_v \frac{1}{D^2} \sum_{i \ne j} [\mathrm{Corr}(z_v)]_{ij}^2

    over the global batch, with unbiased variance. VICReg's covariances become correlations, and their sum a mean over all
    pairs of dimensions: ν need not be tuned to the width and the scale of the embeddings. For two views these are the
    authors' sums over the views; with V views they keep that size, and the invariance is the mean over all pairs.
    The authors' projector ends in iterative normalisation (IterNorm), which is a layer and no part of the loss.

    Parameters
    ----------
    *views : Tensor
        V >= 2 tensors ``(N, D)`` float; at least 2 samples in the global batch.
    invariance, variance, covariance : float
        λ, μ and ν of the paper.

    Returns
    -------
    Tensor
        Scalar, float32 or float64. A constant dimension counts as uncorrelated with all.

    Examples
    --------
    >>> z = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])  # spread, and uncorrelated
    >>> vibcreg(z, z).item(), vibcreg(z, z + 1).item()
    (0.0, 25.0)
    >>> round(vibcreg(z[:, [0, 0]], z[:, [0, 0]]).item(), 4)  # fully correlated: 2 of the 4 pairs, in both views
    200.0
    """
    check_weights(invariance=invariance, variance=variance, covariance=covariance)
    check_embeddings(*views, samples=2)
    z = torch.stack(widened(views))  # (V, N, D)
    distance = mean_over_ranks(torch.stack([F.mse_loss(a, b) for a, b in combinations(z, 2)]).mean())
    z = centered(z)
    deviations = (mean_square(z) * (total_rows(z) / (total_rows(z) - 1)) + EPSILON).sqrt()
    columns = unit_columns(z)
    correlations = sum_of_products(columns, columns)  # (V, D, D)
    spread = 2 * F.relu(1 - deviations).mean()
    shared = 2 * off_diagonal(correlations).square().sum() / correlations.numel()
    return invariance * distance + variance * spread + covariance * shared


class VIbCRegLoss(Loss):
    """:func:`vibcreg` as a ``torch.nn.Module`` with the same options."""

    def __init__(self, invariance: float = 25.0, variance: float = 25.0, covariance: float = 200.0) -> None:
        check_weights(invariance=invariance, variance=variance, covariance=covariance)
        super().__init__(invariance=invariance, variance=variance, covariance=covariance)

    def forward(self, *views: Tensor) -> Tensor:
        """Return the loss of V views ``(N, D)``."""
        return vibcreg(*views, **self.options)
