"""Negative cosine similarity: the loss of BYOL, SimSiam and FastSiam."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ssl_losses.checks import check_embeddings
from ssl_losses.components.loss import Loss
from ssl_losses.distributed import mean_over_ranks
from ssl_losses.ops.normalize import SHORTEST
from ssl_losses.precision import widened, without_autocast


@without_autocast
def negative_cosine_similarity(
    prediction: Tensor | Sequence[Tensor], target: Tensor | Sequence[Tensor], stop_gradient: bool = True
) -> Tensor:
    r"""Return the negative cosine similarity (BYOL, Grill et al. 2020, https://arxiv.org/abs/2006.07733; SimSiam, Chen & He
    2021, https://arxiv.org/abs/2011.10566; FastSiam, Pototzky et al. 2022,
    https://doi.org/10.1007/978-3-031-16788-1_4).

    .. math::
        -\frac1G \sum_i \frac{p_i \cdot z_i}{‖p_i‖ ‖z_i‖} \qquad \text{or} \qquad
        -\frac{1}{V G} \sum_v \sum_i \frac{p_{v,i} \cdot \bar z_{v,i}}{‖p_{v,i}‖ ‖\bar z_{v,i}‖}, \quad
        \bar z_{v,i} = \frac{1}{V - 1} \sum_{u \ne v} z_{u,i}

    of one view against another, or of V views, each against the mean of the others' targets (FastSiam). With two views that
    is the mean over the two directions, as BYOL and SimSiam take it; BYOL's loss is twice this plus 2.

    Parameters
    ----------
    prediction : Tensor or sequence of Tensor
        ``(N, D)`` float, the prediction of one view; or V of them, one per view.
    target : Tensor or sequence of Tensor
        ``(N, D)`` float, the projection of the other view; or V of them, the projections in the order of the predictions.
    stop_gradient : bool
        Whether the target counts as a constant, as in all three papers; without it both sides collapse onto each other.

    Returns
    -------
    Tensor
        Scalar in [-1, 1], float32 or float64: the mean over the global batch. A zero vector counts as 0.

    Examples
    --------
    >>> p = torch.tensor([[3.0, 4.0]])
    >>> round(negative_cosine_similarity(p, 2 * p).item(), 4), round(negative_cosine_similarity(p, -p).item(), 4)
    (-1.0, 1.0)
    >>> views = [torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])]
    >>> round(negative_cosine_similarity(views, views).item(), 4)  # -(√½ + √½ + 0) / 3
    -0.4714
    """
    predictions, targets = ([z] if isinstance(z, Tensor) else list(z) for z in (prediction, target))
    check_embeddings(*predictions, *targets, problem=_problem(len(predictions), len(targets)))
    rows = widened([*predictions, *(z.detach() if stop_gradient else z for z in targets)])
    p, z = rows[: len(predictions)], rows[len(predictions) :]
    if len(z) > 1:
        z = [_mean([*z[:view], *z[view + 1 :]]) for view in range(len(z))]
    return mean_over_ranks(-_mean([_cosines(*pair).mean() for pair in zip(p, z)]))


def _mean(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.stack(tensors).mean(0)


def _cosines(p: Tensor, z: Tensor) -> Tensor:
    """Return the cosine of each row of ``p`` with the row of ``z``, ``(N,)``; 0 without a gradient where one is zero."""
    # dividing the products by the lengths, and not the rows, spares two copies of the batch and their gradients; the price is
    # that rows longer than 1e19 overflow
    of_p, of_z = (torch.linalg.vector_norm(x, dim=1) for x in (p, z))
    return (p * z).sum(1) / (of_p * of_z).masked_fill(torch.minimum(of_p, of_z) < SHORTEST, torch.inf)


def _problem(predictions: int, targets: int) -> str | None:
    if predictions == targets:
        return None
    return f"expected a target for each prediction, got {predictions} predictions and {targets} targets"


class NegativeCosineSimilarityLoss(Loss):
    """:func:`negative_cosine_similarity` as a ``torch.nn.Module`` with the same options."""

    def __init__(self, stop_gradient: bool = True) -> None:
        super().__init__(stop_gradient=stop_gradient)

    def forward(self, prediction: Tensor | Sequence[Tensor], target: Tensor | Sequence[Tensor]) -> Tensor:
        """Return the loss of predictions and targets, ``(N, D)`` or V of them."""
        return negative_cosine_similarity(prediction, target, **self.options)
