"""SIGReg, the regulariser of LeJEPA: embeddings pulled towards an isotropic Gaussian, one direction at a time."""

import torch
from torch import Tensor

from ssl_losses.checks import check_counts, check_positive, check_shares
from ssl_losses.components.directions import SlicedLoss, checked_views
from ssl_losses.distributed import all_reduce_with_gradient
from ssl_losses.ops.covariance import total_rows
from ssl_losses.ops.fourier import fourier_sums
from ssl_losses.ops.view_centroid import distance_to_centroid
from ssl_losses.precision import without_autocast


@without_autocast
def sigreg(
    *views: Tensor,
    directions: Tensor,
    regularization: float = 0.05,
    global_views: int | None = None,
    num_knots: int = 17,
    t_max: float = 3.0,
) -> Tensor:
    r"""Return the loss of LeJEPA, whose regulariser is SIGReg (Balestriero & LeCun 2025, https://arxiv.org/abs/2511.08544).

    .. math::
        \frac{1 - \lambda}{VGD} \sum_v ‖Z_v - \bar Z‖^2 + \frac{\lambda}{VK} \sum_v \sum_k T(Z_v a_k), \qquad
        T(x) = G \int_{-t_{\max}}^{t_{\max}}
        \left| \frac1G \sum_j e^{i t x_j} - e^{-t^2 / 2} \right|^2 e^{-t^2 / 2} \, dt

    over the global batch: views agree with the centroid of the global views, and the embeddings, seen along K directions,
    pass the test of Epps and Pulley for a standard normal distribution. The integral is a trapezoidal sum, as in the
    authors' code (the paper writes it from -5 to 5).

    Parameters
    ----------
    *views : Tensor
        V >= 1 tensors ``(N, D)`` float, the global ones first.
    directions : Tensor
        ``(D, K)`` float, columns of length 1, the same on all ranks; new ones for each batch (:class:`SIGRegLoss` draws them).
    regularization : float
        λ, between 0 and 1: the share of SIGReg. With 1 the loss is SIGReg alone.
    global_views : int, optional
        Number of global views, by default all.
    num_knots, t_max : int, float
        The integrand, which is even, is evaluated at ``num_knots`` (at least 2) points from 0 to ``t_max`` (above 0).

    Returns
    -------
    Tensor
        Scalar, float32 or float64, not negative. SIGReg itself does not shrink with larger batches: of normal embeddings it is
        about 1.05, of any number.

    Examples
    --------
    >>> z = torch.zeros(4, 2)  # collapsed: 4 ∫ (1 - exp(-t²/2))² exp(-t²/2) dt = 4 (√(2π) - 2√π + √(2π/3)) but for the tails
    >>> round(sigreg(z, z, directions=torch.eye(2), regularization=1.0, t_max=9.0, num_knots=99).item(), 4)
    1.6357
    """
    _check_options(regularization, num_knots, t_max)
    z, directions = checked_views(views, directions, global_views)
    normality = _epps_pulley(z @ directions, num_knots, t_max).mean()
    return (1 - regularization) * distance_to_centroid(z, global_views) + regularization * normality


def _epps_pulley(x: Tensor, num_knots: int, t_max: float) -> Tensor:
    """Return the statistic of each view and direction, ``(V, K)`` of ``(V, N, K)``: 0 where all ranks' rows are normal."""
    spacing = t_max / (num_knots - 1)
    means = all_reduce_with_gradient(fourier_sums(x, spacing, num_knots)) / total_rows(x)
    cos, sin = means.unbind(-1)  # (knots, V, K) both
    normal = (-0.5 * (spacing * torch.arange(num_knots, dtype=x.dtype, device=x.device)).square()).exp()
    weights = 2 * spacing * normal  # the integrand is even: twice the half from 0 on, where it is 0
    weights = torch.cat([weights[:-1], weights[-1:] / 2])
    difference = (cos - normal[:, None, None]).square() + sin.square()
    return total_rows(x) * torch.einsum("t,tvk->vk", weights, difference)


def _check_options(regularization: float, num_knots: int, t_max: float) -> None:
    check_shares(regularization=regularization)
    check_counts(2, num_knots=num_knots)
    check_positive(t_max=t_max)


class SIGRegLoss(SlicedLoss):
    """:func:`sigreg` as a module that draws the directions; ``forward(*views)`` takes V views ``(N, D)``.

    Parameters
    ----------
    num_slices, seed : int
        K, the directions of each batch, and which ones are drawn; see :class:`~ssl_losses.components.directions.SlicedLoss`.
    regularization, global_views, num_knots, t_max
        As in :func:`sigreg`.
    """

    function = staticmethod(sigreg)

    def __init__(
        self,
        num_slices: int = 1024,
        regularization: float = 0.05,
        global_views: int | None = None,
        num_knots: int = 17,
        t_max: float = 3.0,
        seed: int = 0,
    ) -> None:
        _check_options(regularization, num_knots, t_max)
        options = {"regularization": regularization, "global_views": global_views}
        super().__init__(num_slices, seed, **options, num_knots=num_knots, t_max=t_max)
