"""SIGReg, the regulariser of LeJEPA: embeddings pulled towards an isotropic Gaussian, one direction at a time."""

import torch
from torch import Tensor, nn

from ssl_losses.checks import check_counts, check_embeddings, check_positive, check_shares
from ssl_losses.components.directions import RandomDirections, problem_with_directions
from ssl_losses.distributed import all_reduce_with_gradient
from ssl_losses.ops.covariance import total_rows
from ssl_losses.ops.fourier import fourier_sums
from ssl_losses.ops.view_centroid import distance_to_centroid, problem_with_global_views
from ssl_losses.precision import widened, without_autocast


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
        ``(D, K)`` float, columns of length 1, the same on all ranks; new ones for every batch (:class:`SIGRegLoss` draws them).
    regularization : float
        λ, between 0 and 1: the share of SIGReg. With 1 the loss is SIGReg alone.
    global_views : int, optional
        How many views are global; without it all are.
    num_knots, t_max : int, float
        Where the integrand is computed: at so many points from 0 to the largest; it is even.

    Returns
    -------
    Tensor
        Scalar, float32 at least, not negative. SIGReg itself does not shrink with larger batches: of normal embeddings it is
        about 1.05, of any number.

    Raises
    ------
    ValueError
        For shapes that differ, integers, directions that are not ``(D, K)``, a share outside of 0 to 1, more global views
        than views, fewer than 2 knots, or ranks with different batches.

    Examples
    --------
    >>> z = torch.zeros(4, 2)  # collapsed: 4 ∫ (1 - exp(-t²/2))² exp(-t²/2) dt = 4 (√(2π) - 2√π + √(2π/3)) but for the tails
    >>> round(sigreg(z, z, directions=torch.eye(2), regularization=1.0, t_max=9.0, num_knots=99).item(), 4)
    1.6357
    """
    _check_options(regularization, num_knots, t_max)
    problem = problem_with_global_views(global_views, len(views)) or problem_with_directions(directions, views)
    check_embeddings(*views, views=1, problem=problem)
    *widened_views, directions = widened((*views, directions))
    z = torch.stack(widened_views)  # (V, N, D)
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


class SIGRegLoss(nn.Module):
    """:func:`sigreg` as a module that draws the directions.

    Parameters
    ----------
    num_slices : int
        K, the directions of each batch.
    seed : int
        Chooses the directions, the same on all ranks.
    regularization, global_views, num_knots, t_max
        As in :func:`sigreg`.

    Attributes
    ----------
    slices : RandomDirections
        Its buffer ``step`` counts the batches seen in training mode, and is saved with the model: a resumed run draws the
        directions that it would have drawn. In evaluation the directions stay, so that losses can be compared.
    """

    def __init__(
        self,
        num_slices: int = 1024,
        regularization: float = 0.05,
        global_views: int | None = None,
        num_knots: int = 17,
        t_max: float = 3.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_counts(num_slices=num_slices)
        _check_options(regularization, num_knots, t_max)
        self.slices = RandomDirections(num_slices, seed)
        self.regularization, self.global_views = regularization, global_views
        self.num_knots, self.t_max = num_knots, t_max

    def forward(self, *views: Tensor) -> Tensor:
        """Return the loss of V views ``(N, D)``; in training mode, go on to the next directions after it."""
        loss = sigreg(
            *views,
            directions=self.slices(views),
            regularization=self.regularization,
            global_views=self.global_views,
            num_knots=self.num_knots,
            t_max=self.t_max,
        )
        if self.training:
            self.update()
        return loss

    def update(self) -> None:
        """Go on to the next directions."""
        self.slices.advance()

    def extra_repr(self) -> str:
        """Return the options."""
        return (
            f"regularization={self.regularization}, global_views={self.global_views}, "
            f"num_knots={self.num_knots}, t_max={self.t_max}"
        )
