"""Alignment: the distance between the views of a sample on the sphere."""

from itertools import combinations

import torch
from torch import Tensor

from ssl_losses.checks import check_embeddings, check_positive
from ssl_losses.components.loss import Loss
from ssl_losses.distributed import mean_over_ranks
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.precision import widened, without_autocast


@without_autocast
def alignment(*views: Tensor, alpha: float = 2.0) -> Tensor:
    r"""Return the alignment loss (Wang & Isola 2020, https://arxiv.org/abs/2005.10242).

    .. math::
        \frac{2}{V (V-1)} \sum_{u<v} \frac1G \sum_i ‖\hat z_{u,i} - \hat z_{v,i}‖_2^\alpha

    with rows normalised. Alone it has a trivial minimum, all rows equal: add :func:`~ssl_losses.uniformity.uniformity`.

    Parameters
    ----------
    *views : Tensor
        V >= 2 tensors ``(N, D)`` float.
    alpha : float
        α, above 0; the paper's 2.

    Returns
    -------
    Tensor
        Scalar, float32 or float64, between 0 and 2^α: the mean over the global batch. Views that are equal get no gradient.

    Examples
    --------
    >>> z = torch.tensor([[3.0, 0.0]])
    >>> alignment(z, 2 * z).item(), alignment(z, -z).item(), alignment(z, -z, alpha=1.0).item()
    (0.0, 4.0, 2.0)
    """
    check_positive(alpha=alpha)
    check_embeddings(*views)
    rows = [unit_rows(z) for z in widened(views)]
    squares = torch.stack([(a - b).square().sum(1) for a, b in combinations(rows, 2)])
    # a power below 1 of the squares has no slope at 0, where autograd would give inf · 0
    equal = squares == 0
    distances = squares.masked_fill(equal, 1.0).pow(alpha / 2).masked_fill(equal, 0.0)
    return mean_over_ranks(distances.mean())


class AlignmentLoss(Loss):
    """:func:`alignment` as a ``torch.nn.Module`` with the same options."""

    def __init__(self, alpha: float = 2.0) -> None:
        check_positive(alpha=alpha)
        super().__init__(alpha=alpha)

    def forward(self, *views: Tensor) -> Tensor:
        """Return the loss of V views ``(N, D)``."""
        return alignment(*views, **self.options)
