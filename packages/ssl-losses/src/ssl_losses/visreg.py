"""VISReg: variance, invariance and a sliced Wasserstein distance to an isotropic Gaussian."""

import torch
from torch import Tensor

from ssl_losses.checks import check_shares, check_weights
from ssl_losses.components.directions import SlicedLoss, checked_views
from ssl_losses.distributed import all_reduce_with_gradient, gather_with_gradient, rank, world_size
from ssl_losses.ops.covariance import centered, mean_square, total_rows
from ssl_losses.ops.view_centroid import distance_to_centroid
from ssl_losses.precision import without_autocast

SMALLEST_VARIANCE = 1e-12  # the authors' code bounds the deviation by 1e-6


@without_autocast
def visreg(
    *views: Tensor,
    directions: Tensor,
    regularization: float = 0.9,
    scale: float = 1.0,
    shape: float = 1.0,
    center: float = 1.0,
    global_views: int | None = None,
) -> Tensor:
    r"""Return the VISReg loss (Wu, Balestriero & Levine 2026, https://arxiv.org/abs/2606.02572).

    .. math::
        \frac{1 - \lambda}{VGD} \sum_v ‖Z_v - \bar Z‖^2 + \frac{\lambda}{V} \sum_v \left[
        \frac{w_1}{D} \sum_j (1 - \sigma_{v,j})^2
        + \frac{w_2}{GK} \sum_k \sum_i \left( (\tilde Z_v a_k)_{(i)} - \Phi^{-1}\!\left(\tfrac{i}{G + 1}\right) \right)^2
        + \frac{w_3}{D} \sum_j \mu_{v,j}^2 \right]

    over the global batch: views agree with the centroid of the global views; the deviation σ of each dimension is 1 and its
    mean μ is 0; and the standardised embeddings :math:`\tilde Z = (Z - \mu) / \sigma`, seen along K directions and sorted, are
    the quantiles of a standard normal distribution. σ counts as a constant in the standardisation, so that shape and scale
    are regularised separately. Each rank computes a part of the directions.

    Parameters
    ----------
    *views : Tensor
        V >= 1 tensors ``(N, D)`` float, the global ones first; at least 2 samples in the global batch.
    directions : Tensor
        ``(D, K)`` float, columns of length 1, the same on all ranks; new ones for each batch (:class:`VISRegLoss` draws them).
    regularization : float
        λ, between 0 and 1. The authors' code: 0.9 on ImageNet, 0.6 on a small data set.
    scale, shape, center : float
        The weights w of the three regularisers.
    global_views : int, optional
        Number of global views, by default all.

    Returns
    -------
    Tensor
        Scalar, float32 or float64, not negative.

    Examples
    --------
    >>> z = torch.tensor([[-1.0], [1.0]])  # deviation 1, mean 0; sorted -1 and 1 against the quantiles of 1/3 and 2/3
    >>> round(visreg(z, z, directions=torch.ones(1, 1), regularization=1.0).item(), 4)  # (1 - 0.4307)²
    0.3241
    >>> round(visreg(z, 3 * z + 1, directions=torch.ones(1, 1), regularization=1.0).item(), 4)  # + ((1 - 3)² + 1²) / 2
    2.8241
    """
    _check_options(regularization, scale, shape, center)
    z, directions = checked_views(views, directions, global_views, samples=2)
    around_mean = centered(z)
    deviations = mean_square(around_mean).clamp_min(SMALLEST_VARIANCE).sqrt()
    off_scale = (1 - deviations).square().mean()
    off_shape = _distance_to_normal(around_mean / deviations.detach(), directions)
    off_center = (all_reduce_with_gradient(z.sum(1)) / total_rows(z)).square().mean()
    regularizer = scale * off_scale + shape * off_shape + center * off_center
    return (1 - regularization) * distance_to_centroid(z, global_views) + regularization * regularizer


def _distance_to_normal(z: Tensor, directions: Tensor) -> Tensor:
    """Return the squared Wasserstein distance of all ranks' rows to a standard normal distribution, the mean over directions.

    Sorting needs all rows. So every rank takes the global batch along its share of the directions.
    """
    rows = gather_with_gradient(z.transpose(0, 1)).transpose(0, 1)  # (V, G, D)
    places = torch.arange(1, rows.shape[1] + 1, dtype=z.dtype, device=z.device) / (rows.shape[1] + 1)
    quantiles = torch.special.ndtri(places).unsqueeze(1)
    seen = (rows @ directions[:, rank() :: world_size()]).sort(dim=1).values
    total = all_reduce_with_gradient((seen - quantiles).square().sum())
    return total / (len(rows) * rows.shape[1] * directions.shape[1])


def _check_options(regularization: float, scale: float, shape: float, center: float) -> None:
    check_shares(regularization=regularization)
    check_weights(scale=scale, shape=shape, center=center)


class VISRegLoss(SlicedLoss):
    """:func:`visreg` as a module that draws the directions; ``forward(*views)`` takes V views ``(N, D)``.

    Parameters
    ----------
    num_slices, seed : int
        K, the directions of each batch (4096 in the authors' code on ImageNet), and which ones are drawn; see
        :class:`~ssl_losses.components.directions.SlicedLoss`.
    regularization, scale, shape, center, global_views
        As in :func:`visreg`.
    """

    function = staticmethod(visreg)

    def __init__(
        self,
        num_slices: int = 4096,
        regularization: float = 0.9,
        scale: float = 1.0,
        shape: float = 1.0,
        center: float = 1.0,
        global_views: int | None = None,
        seed: int = 0,
    ) -> None:
        _check_options(regularization, scale, shape, center)
        weights = {"scale": scale, "shape": shape, "center": center}
        super().__init__(num_slices, seed, regularization=regularization, **weights, global_views=global_views)
