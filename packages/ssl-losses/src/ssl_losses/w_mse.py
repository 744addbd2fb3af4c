"""W-MSE: the distance between whitened embeddings."""

from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_losses.checks import check_embeddings, check_positive, widened, without_autocast
from ssl_losses.distributed import gather

RIDGE = (
    1e-3  # share of the identity in the covariance, so that a flat one can be inverted; the authors' code has 0 to 1e-3
)


@without_autocast
def w_mse(*views: Tensor, whitening_size: int = 128) -> Tensor:
    r"""Return the W-MSE loss (Ermolov, Siarohin, Sangineto & Sebe 2021, https://arxiv.org/abs/2007.06346).

    .. math::
        \frac{2}{V (V-1)} \sum_{u<v} \frac1G \sum_i
        \left‖ \frac{W(z_{u,i})}{‖W(z_{u,i})‖} - \frac{W(z_{v,i})}{‖W(z_{v,i})‖} \right‖^2

    where W is the Cholesky whitening of the samples of a sub-batch, all views together. The sub-batches are made of every
    k-th sample of the global batch, so that the loss is a function of the batch alone; the paper draws them at random,
    which the shuffling of the loader does as well.

    Parameters
    ----------
    *views : Tensor
        V >= 2 tensors ``(N, D)`` float.
    whitening_size : int
        Samples in a sub-batch, about; they count V embeddings each. A batch that is smaller is whitened as a whole.

    Returns
    -------
    Tensor
        Scalar, float32 at least, between 0 and 4.

    Raises
    ------
    ValueError
        For fewer than two views, shapes that differ, integers, or sub-batches of fewer embeddings than D + 1: their
        covariance has no inverse.
    """
    check_embeddings(*views)
    check_positive(whitening_size=whitening_size)
    everything = torch.stack([gather(z) for z in widened(views)])  # (V, G, D)
    groups = max(1, everything.shape[1] // whitening_size)
    white = torch.empty_like(everything)
    for group in range(groups):
        white[:, group::groups] = _whitened(everything[:, group::groups])
    white = F.normalize(white, dim=2)
    pairs = list(combinations(white, 2))
    return torch.stack([(a - b).square().sum(1).mean() for a, b in pairs]).mean()


def _whitened(z: Tensor) -> Tensor:
    """Return ``(V, n, D)`` with mean 0 and covariance near the identity over all V·n embeddings."""
    rows = z.flatten(0, 1)
    if len(rows) <= z.shape[2]:
        raise ValueError(
            f"whitening D={z.shape[2]} dimensions needs more embeddings than that in a sub-batch, got {len(rows)} "
            f"({z.shape[1]} samples, {z.shape[0]} views); raise whitening_size or the batch, or lower D"
        )
    centered = rows - rows.mean(0)
    covariance = centered.T @ centered / (len(rows) - 1)
    identity = torch.eye(z.shape[2], dtype=z.dtype, device=z.device)
    factor = torch.linalg.cholesky((1 - RIDGE) * covariance + RIDGE * identity)
    return torch.linalg.solve_triangular(factor, centered.T, upper=False).T.reshape(z.shape)


class WMSELoss(nn.Module):
    """:func:`w_mse` as a module."""

    def __init__(self, whitening_size: int = 128) -> None:
        super().__init__()
        check_positive(whitening_size=whitening_size)
        self.whitening_size = whitening_size

    def forward(self, *views: Tensor) -> Tensor:
        """Return the loss of V views ``(N, D)``."""
        return w_mse(*views, whitening_size=self.whitening_size)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"whitening_size={self.whitening_size}"
