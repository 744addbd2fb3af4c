"""TiCo: agreement of two views, with a penalty on the directions of a running covariance."""

import torch
from torch import Tensor

from ssl_losses.checks import check_counts, check_embeddings, check_shares, check_weights
from ssl_losses.components.accumulation import AccumulatedState
from ssl_losses.components.loss import Loss
from ssl_losses.distributed import mean_over_ranks
from ssl_losses.ops.covariance import sum_of_products, total_rows
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.precision import widened, without_autocast


@without_autocast
def tico(z1: Tensor, z2: Tensor, covariance: Tensor, momentum: float = 0.9, contrast: float = 8.0) -> Tensor:
    r"""Return the TiCo loss (Zhu, Moraes, Karakulak, Sobol, Canziani & LeCun 2022, https://arxiv.org/abs/2206.10698).

    .. math::
        -\frac1G \sum_i \hat z_{1,i} \cdot \hat z_{2,i}
        + \frac{\rho}{G} \sum_i \hat z_{1,i}^\top C_t \, \hat z_{1,i}, \qquad
        C_t = \beta C_{t-1} + \frac{1 - \beta}{G} \sum_i \hat z_{1,i} \hat z_{1,i}^\top

    over the global batch, with rows of length 1. Gradients flow through this batch's share of C_t as well.

    Parameters
    ----------
    z1 : Tensor
        ``(N, D)`` float, the student's view; any scale, rows are normalised here.
    z2 : Tensor
        ``(N, D)`` float, the other view; in the paper that of a teacher, without gradient.
    covariance : Tensor
        ``(D, D)`` float, :math:`C_{t-1}`, the same on all ranks; zeros at the start. It is not changed: :class:`TiCoLoss`
        keeps it up to date.
    momentum : float
        β, between 0 and 1: the share of the past in the covariance.
    contrast : float
        ρ, the weight of the covariance term.

    Returns
    -------
    Tensor
        Scalar, float32 or float64, at least -1.

    Examples
    --------
    >>> z = torch.eye(4)
    >>> round(tico(z, z, torch.eye(4) / 4).item(), 4)  # -1 + 8 / 4: the past and this batch have the same covariance
    1.0
    """
    _check_options(momentum, contrast)
    check_embeddings(z1, z2, problem=_problem_with_covariance(covariance, z1))
    a, b, past = widened((z1, z2, covariance))
    a, b = unit_rows(a), unit_rows(b)
    present = sum_of_products(a, a) / total_rows(a)
    current = momentum * past + (1 - momentum) * present
    # the mean of aᵀ C a is the sum of the products of C's entries with those of the batch's covariance
    return contrast * (current * present).sum() - mean_over_ranks((a * b).sum(1).mean())


def _check_options(momentum: float, contrast: float) -> None:
    check_shares(momentum=momentum)
    check_weights(contrast=contrast)


def _problem_with_covariance(covariance: Tensor, z: Tensor) -> str | None:
    """Return what is wrong with the covariance for embeddings ``(N, D)``, if anything."""
    if covariance.shape != 2 * z.shape[1:]:
        return (
            f"the covariance must be (D, D) with the D of the embeddings {tuple(z.shape)}, got shape "
            f"{tuple(covariance.shape)}; build the loss for as many dimensions as the projector gives"
        )
    return None


class TiCoLoss(Loss, AccumulatedState):
    """:func:`tico` as a module that keeps the covariance.

    Parameters
    ----------
    dimensions : int
        D, the width of the embeddings.
    momentum, contrast : float
        β and ρ, as in :func:`tico`.

    Attributes
    ----------
    covariance : Tensor
        Buffer ``(D, D)``, :math:`C_{t-1}`: zeros at the start, the same on all ranks, saved with the model. In training mode
        ``forward`` computes the loss with the previous value and then updates it; in evaluation mode it is constant.

    Examples
    --------
    >>> loss = TiCoLoss(4)
    >>> loss(torch.eye(4), torch.eye(4)).item() < loss(torch.eye(4), torch.eye(4)).item()  # these directions are taken now
    True
    """

    covariance: Tensor
    momentum: float

    def __init__(self, dimensions: int, momentum: float = 0.9, contrast: float = 8.0) -> None:
        check_counts(dimensions=dimensions)
        _check_options(momentum, contrast)
        super().__init__(momentum=momentum, contrast=contrast)
        self.register_buffer("covariance", torch.zeros(dimensions, dimensions))

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the loss of two views ``(N, D)``, the student's first; in training mode, update the covariance after it."""
        loss = tico(z1, z2, self.covariance.clone(), **self.options)
        if self.training:
            self.update(z1)
        return loss

    @torch.no_grad()
    @without_autocast
    def update(self, z1: Tensor) -> None:
        """Move the covariance towards that of all ranks' embeddings ``(N, D)``."""
        z = unit_rows(*widened([z1]))
        self.change_state(sum_of_products(z, z), z.new_full((), total_rows(z)))

    @torch.no_grad()
    def apply_change(self, products: Tensor, count: Tensor) -> None:  # type: ignore[override]
        """Move the covariance towards that of ``count`` rows whose products ``(D, D)`` are summed."""
        # Not in place: a compiled backward pass may read the buffer again
        self.covariance = self.covariance.lerp((products / count).to(self.covariance), 1 - self.momentum)
