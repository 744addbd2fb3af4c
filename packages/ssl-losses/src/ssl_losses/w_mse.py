"""W-MSE: the distance between whitened embeddings."""

from itertools import combinations

import torch
from torch import Tensor

from ssl_losses.checks import BatchSizeError, check_counts, check_embeddings
from ssl_losses.components.loss import Loss
from ssl_losses.distributed import gather_with_gradient
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.precision import widened, without_autocast

# share of the identity in a covariance, so that a flat one can be inverted; the authors' code has 0 to 1e-3
RIDGE = 1e-3
# a sub-batch below it is constant: the ridge alone is inverted, and the whitened rows are zero
SMALLEST_VARIANCE = 1e-12


@without_autocast
def w_mse(*views: Tensor, whitening_size: int = 128) -> Tensor:
    r"""Return the W-MSE loss (Ermolov, Siarohin, Sangineto & Sebe 2021, https://arxiv.org/abs/2007.06346).

    .. math::
        \frac{2}{V (V-1)} \sum_{u<v} \frac1G \sum_i
        \left‖ \frac{W_u(z_{u,i})}{‖W_u(z_{u,i})‖} - \frac{W_v(z_{v,i})}{‖W_v(z_{v,i})‖} \right‖^2

    where W_v is the Cholesky whitening of view v's embeddings in a sub-batch of samples, the same samples for all views.
    The sub-batches are made of every k-th sample of the global batch, so that the loss is a function of the batch alone;
    the paper draws them at random, which the shuffling of the loader does as well. The ridge is 1e-3 of the mean variance,
    where the authors' code has an absolute one: whitening, and so this loss, does not depend on the scale of the embeddings.

    Parameters
    ----------
    *views : Tensor
        V >= 2 tensors ``(N, D)`` float.
    whitening_size : int
        Samples in a sub-batch, at least (up to twice as many where the batch does not divide); the authors take 2 D. A global
        batch that is smaller is whitened as a whole. A sub-batch needs more than D samples, or its covariance has no inverse.

    Returns
    -------
    Tensor
        Scalar, float32 or float64, between 0 and 4.

    Examples
    --------
    >>> z = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    >>> round(w_mse(z, 3 * z + 5).item(), 4), round(w_mse(z, -z).item(), 4)  # the same when whitened, and opposite
    (0.0, 4.0)
    """
    check_counts(2, whitening_size=whitening_size)
    check_embeddings(*views)
    z = torch.stack([gather_with_gradient(z) for z in widened(views)])  # (V, G, D)
    groups = max(1, z.shape[1] // whitening_size)
    _check_samples(z.shape[1] // groups, z.shape[2])
    losses = []
    for group in range(groups):
        white = _whitened(z[:, group::groups])
        losses += [(a - b).square().sum(1) for a, b in combinations([unit_rows(view) for view in white], 2)]
    return torch.cat(losses).mean()


def _whitened(z: Tensor) -> Tensor:
    """Return ``(V, n, D)`` with mean 0 and covariance near the identity over each view's n rows."""
    z = z - z.mean(1, keepdim=True)
    covariance = z.mT @ z / (z.shape[1] - 1)
    mean_variance = covariance.diagonal(dim1=1, dim2=2).mean(1)[:, None, None].clamp_min(SMALLEST_VARIANCE)
    identity = torch.eye(z.shape[2], dtype=z.dtype, device=z.device)
    factor = torch.linalg.cholesky((1 - RIDGE) * covariance + RIDGE * mean_variance * identity)
    return torch.linalg.solve_triangular(factor, z.mT, upper=False).mT


def _check_samples(samples: int, dimensions: int) -> None:
    if samples <= dimensions:
        raise BatchSizeError(
            f"whitening D={dimensions} dimensions needs more samples than that in a sub-batch, got {samples}; "
            "raise whitening_size or the batch size, or lower D"
        )


class WMSELoss(Loss):
    """:func:`w_mse` as a ``torch.nn.Module`` with the same options."""

    def __init__(self, whitening_size: int = 128) -> None:
        check_counts(2, whitening_size=whitening_size)
        super().__init__(whitening_size=whitening_size)

    def forward(self, *views: Tensor) -> Tensor:
        """Return the loss of V views ``(N, D)``."""
        return w_mse(*views, **self.options)
