"""The matching loss: each row of one set finds its partner among all ranks' rows of the other."""

import torch
from torch import Tensor

from ssl_losses.distributed import gather_with_gradient, rank
from ssl_losses.logsumexp import logsumexp
from ssl_losses.softplus import softplus


def matching(queries: Tensor, keys: Tensor, scale: float) -> Tensor:
    r"""Return ``-log softmax`` of each query's own key among the keys of all ranks.

    .. math::
        \ell_i = -\log \frac{\exp(\mathrm{scale} \cdot q_i \cdot k_i)}{\sum_j \exp(\mathrm{scale} \cdot q_i \cdot k_j)}

    Parameters
    ----------
    queries, keys : Tensor
        ``(N, D)`` of one type, float32 or float64; row i of both is sample i. At least 2 samples on all ranks together.
    scale : float
        A temperature's inverse.

    Returns
    -------
    Tensor
        ``(N,)``, not negative.
    """
    own = torch.arange(len(queries), device=queries.device) + rank() * len(queries)
    negatives = logsumexp(queries, gather_with_gradient(keys), scale, excluded=own.unsqueeze(1))
    positives = (queries * keys).sum(1) * scale
    return softplus(negatives - positives)
