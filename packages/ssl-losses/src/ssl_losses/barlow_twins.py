"""Barlow Twins: the cross-correlation of two views' embeddings, pulled towards the identity."""

import torch.nn.functional as F
from torch import Tensor

from ssl_losses.checks import check_embeddings, check_weights
from ssl_losses.components.loss import Loss
from ssl_losses.distributed import world_size
from ssl_losses.ops.covariance import centered, mean_square, off_diagonal, sum_of_products, total_rows
from ssl_losses.precision import widened, without_autocast

EPSILON = 1e-5  # added to the variances, as the batch normalisation of the authors' code does


@without_autocast
def barlow_twins(z1: Tensor, z2: Tensor, redundancy: float = 0.0051) -> Tensor:
    r"""Return the Barlow Twins loss (Zbontar, Jing, Misra, LeCun & Deny 2021, https://arxiv.org/abs/2103.03230).

    .. math::
        \sum_i (1 - C_{ii})^2 + \lambda \sum_i \sum_{j \ne i} C_{ij}^2, \qquad
        C = \frac1G \hat z_1^\top \hat z_2

    with embeddings standardised over the global batch (biased variance).

    Parameters
    ----------
    z1, z2 : Tensor
        ``(N, D)`` float; at least 2 samples in the global batch.
    redundancy : float
        λ, the weight of the off-diagonal terms; the paper's 0.0051.

    Returns
    -------
    Tensor
        Scalar, float32 or float64. It grows with D: the authors' code multiplies by 1/32 for D = 8192. A constant dimension
        counts as uncorrelated with all.

    Examples
    --------
    >>> import torch
    >>> z = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])  # two uncorrelated dimensions
    >>> round(barlow_twins(z, z).item(), 4), round(barlow_twins(z, z[:, [1, 0]], redundancy=0.5).item(), 4)
    (0.0, 3.0)
    """
    check_weights(redundancy=redundancy)
    check_embeddings(z1, z2, samples=2)
    a, b = (_standardized(z) for z in widened((z1, z2)))
    products, total = sum_of_products(a, b), total_rows(a)  # G C
    agreement = (1 - products.diagonal() / total).square().sum()
    return agreement + redundancy / total**2 * off_diagonal(products).square().sum()


def _standardized(z: Tensor) -> Tensor:
    """Return ``(N, D)`` less its mean, divided by its standard deviation, over all ranks' rows."""
    if world_size() == 1:  # the same in one pass, with one copy of the batch
        return F.batch_norm(z, None, None, training=True, eps=EPSILON)
    z = centered(z)
    return z / (mean_square(z) + EPSILON).sqrt()


class BarlowTwinsLoss(Loss):
    """:func:`barlow_twins` as a ``torch.nn.Module`` with the same options."""

    def __init__(self, redundancy: float = 0.0051) -> None:
        check_weights(redundancy=redundancy)
        super().__init__(redundancy=redundancy)

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the loss of two views ``(N, D)``."""
        return barlow_twins(z1, z2, **self.options)
