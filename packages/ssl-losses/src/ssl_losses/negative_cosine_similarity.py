"""Negative cosine similarity: what BYOL and SimSiam minimise."""

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_losses.checks import check_embeddings, widened, without_autocast
from ssl_losses.distributed import mean_over_ranks, refuse_uneven


@without_autocast
def negative_cosine_similarity(prediction: Tensor, target: Tensor) -> Tensor:
    r"""Return the negative cosine similarity (BYOL, Grill et al. 2020; SimSiam, Chen & He 2021).

    .. math::
        -\frac1G \sum_i \frac{p_i \cdot z_i}{‖p_i‖ ‖z_i‖}

    No gradient flows into the target: the stop-gradient of both papers is part of the loss. BYOL's loss is twice this
    plus 2.

    Parameters
    ----------
    prediction : Tensor
        ``(N, D)`` float, what the predictor says of one view.
    target : Tensor
        ``(N, D)`` float, the projection of the other view.

    Returns
    -------
    Tensor
        Scalar in [-1, 1], float32 at least: the mean over the world. A zero vector counts as 0.

    Raises
    ------
    ValueError
        For shapes that differ, or integers.
    """
    check_embeddings(prediction, target)
    refuse_uneven(prediction)
    p, z = widened((prediction, target.detach()))
    return mean_over_ranks(-(F.normalize(p, dim=1) * F.normalize(z, dim=1)).sum(1).mean())


class NegativeCosineSimilarityLoss(nn.Module):
    """:func:`negative_cosine_similarity` as a module."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss of predictions and targets ``(N, D)``."""
        return negative_cosine_similarity(prediction, target)
