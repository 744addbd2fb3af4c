"""Negative cosine similarity: what BYOL and SimSiam minimise."""

from torch import Tensor, nn

from ssl_losses.checks import check_embeddings
from ssl_losses.distributed import mean_over_ranks
from ssl_losses.precision import widened, without_autocast
from ssl_losses.unit_rows import unit_rows


@without_autocast
def negative_cosine_similarity(prediction: Tensor, target: Tensor, stop_gradient: bool = True) -> Tensor:
    r"""Return the negative cosine similarity (BYOL, Grill et al. 2020, https://arxiv.org/abs/2006.07733; SimSiam, Chen & He
    2021, https://arxiv.org/abs/2011.10566).

    .. math::
        -\frac1G \sum_i \frac{p_i \cdot z_i}{‖p_i‖ ‖z_i‖}

    BYOL's loss is twice this plus 2. Both papers take the mean over the two directions: predictions of view 1 against
    targets of view 2, and the other way round.

    Parameters
    ----------
    prediction : Tensor
        ``(N, D)`` float, what the predictor says of one view.
    target : Tensor
        ``(N, D)`` float, the projection of the other view.
    stop_gradient : bool
        Whether the target counts as a constant, as in both papers; without it both sides collapse onto each other.

    Returns
    -------
    Tensor
        Scalar in [-1, 1], float32 at least: the mean over the world. A zero vector counts as 0.

    Raises
    ------
    ValueError
        For shapes that differ, integers, or ranks with different batches.

    Examples
    --------
    >>> import torch
    >>> p = torch.tensor([[3.0, 4.0]])
    >>> round(negative_cosine_similarity(p, 2 * p).item(), 4), round(negative_cosine_similarity(p, -p).item(), 4)
    (-1.0, 1.0)
    """
    check_embeddings(prediction, target)
    p, z = widened((prediction, target.detach() if stop_gradient else target))
    return mean_over_ranks(-(unit_rows(p) * unit_rows(z)).sum(1).mean())


class NegativeCosineSimilarityLoss(nn.Module):
    """:func:`negative_cosine_similarity` as a module."""

    def __init__(self, stop_gradient: bool = True) -> None:
        super().__init__()
        self.stop_gradient = stop_gradient

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss of predictions and targets ``(N, D)``."""
        return negative_cosine_similarity(prediction, target, self.stop_gradient)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"stop_gradient={self.stop_gradient}"
