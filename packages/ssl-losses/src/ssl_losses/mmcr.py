"""MMCR: the nuclear norm of the samples' centroids, a measure of manifold capacity."""

import torch
from torch import Tensor

from ssl_losses.checks import check_embeddings, check_weights
from ssl_losses.components.loss import Loss
from ssl_losses.distributed import gather_with_gradient, mean_over_ranks
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.precision import widened, without_autocast


@without_autocast
def mmcr(*views: Tensor, compression: float = 0.0) -> Tensor:
    r"""Return the MMCR loss (Yerxa, Kuang, Simoncelli & Chung 2023, https://arxiv.org/abs/2303.03307).

    .. math::
        -‖C‖_* + \frac{\lambda}{G} \sum_i ‖Z_i‖_*, \qquad C_i = \frac1V \sum_v \hat z_{v,i}

    with rows of length 1: C ``(G, D)`` holds the centroid of each sample's views in the global batch, Z_i ``(V, D)`` the
    views of sample i, and the nuclear norm is the sum of the singular values. A large norm needs long centroids (views
    that agree) in many directions. The authors' momentum variant is the same loss, with the teacher's views, without gradient,
    among the views (its compression takes the student's alone).

    Parameters
    ----------
    *views : Tensor
        V >= 2 tensors ``(N, D)`` float; any scale, rows are normalised here.
    compression : float
        λ, the weight of each sample's own nuclear norm. The authors train with 0.

    Returns
    -------
    Tensor
        Scalar, float32 or float64; without compression between −√(G · min(G, D)) and 0. NaN where an embedding is not finite.

    Examples
    --------
    >>> z = torch.eye(4)
    >>> round(mmcr(z, z).item(), 4), round(mmcr(z, z, compression=1.0).item(), 4)  # -4, and -4 + √2
    (-4.0, -2.5858)
    >>> round(mmcr(torch.ones(4, 4), torch.ones(4, 4)).item(), 4)  # collapsed: as long, but in one direction
    -2.0
    """
    check_weights(compression=compression)
    check_embeddings(*views)
    v, n, d = len(views), *views[0].shape
    z = unit_rows(torch.cat(widened(views))).view(v, n, d)
    # the rows travel, not the D x D sum of their products: its eigenvalues are squares, with half of the digits left
    loss = -_nuclear_norm(gather_with_gradient(z.mean(0)))
    if compression:
        loss = loss + compression * mean_over_ranks(_nuclear_norm(z.transpose(0, 1)).mean())
    return loss


def _nuclear_norm(matrices: Tensor) -> Tensor:
    """Return the sum of the singular values of ``(..., M, N)``.

    Its gradient is U Vᵀ, in which no difference of singular values is divided by: equal ones, and zeros, are harmless.
    """
    # the decomposition raises where an entry is not finite; a loss is NaN then, for the training loop to see
    known = torch.where(matrices.isfinite().all(), 1.0, torch.nan)
    return torch.linalg.svdvals(torch.nan_to_num(matrices, 0.0, 0.0, 0.0)).sum(-1) * known


class MMCRLoss(Loss):
    """:func:`mmcr` as a ``torch.nn.Module`` with the same options."""

    def __init__(self, compression: float = 0.0) -> None:
        check_weights(compression=compression)
        super().__init__(compression=compression)

    def forward(self, *views: Tensor) -> Tensor:
        """Return the loss of V views ``(N, D)``."""
        return mmcr(*views, **self.options)
