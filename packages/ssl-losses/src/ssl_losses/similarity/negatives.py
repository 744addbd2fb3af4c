"""The negatives of SimCLR and similar losses: both views of all other samples of the global batch."""

import torch
from torch import Tensor

from ssl_losses.distributed import gather_with_gradient, sample_numbers, world_size
from ssl_losses.similarity.logsumexp import logsumexp, self_logsumexp


def negatives(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """Return the log-sum-exp of each embedding's scaled products with the embeddings of other samples.

    Parameters
    ----------
    a, b : Tensor
        ``(N, D)`` of one type, float32 or float64, the two views of this rank's samples. At least 2 samples on all ranks
        together.
    scale : float
        A temperature's inverse.

    Returns
    -------
    Tensor
        ``(2N,)``, first of a, then of b.
    """
    rows = torch.cat([a, b])
    total = len(a) * world_size()
    sample = sample_numbers(a).repeat(2)
    same_sample = torch.stack([sample, sample + total], dim=1)  # itself and its other view, as rows of the global batch
    if world_size() == 1:
        return self_logsumexp(rows, scale, same_sample)
    rows_of_all_ranks = torch.cat([gather_with_gradient(a), gather_with_gradient(b)])
    return logsumexp(rows, rows_of_all_ranks, scale, same_sample)
