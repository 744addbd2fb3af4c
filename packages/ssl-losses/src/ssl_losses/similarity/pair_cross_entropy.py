"""Cross-entropy of matching pairs: each row of one set against all ranks' rows of the other."""

from collections.abc import Sequence

from torch import Tensor

from ssl_losses.distributed import gather_with_gradient, mean_over_ranks, sample_numbers, world_size
from ssl_losses.ops.softplus import softplus
from ssl_losses.precision import without_autocast
from ssl_losses.similarity.logsumexp import logsumexp, two_way_logsumexp


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
    negatives = logsumexp(queries, gather_with_gradient(keys), scale, excluded=sample_numbers(queries).unsqueeze(1))
    positives = (queries * keys).sum(1) * scale
    return softplus(negatives - positives)


def matching_both_ways(a: Tensor, b: Tensor, scale: float | Tensor) -> tuple[Tensor, Tensor]:
    """Return ``matching(a, b, scale)`` and ``matching(b, a, scale)``, on one rank in half of the time.

    The scale may be a scalar tensor, which gets a gradient.
    """
    own = sample_numbers(a).unsqueeze(1)
    if world_size() == 1:
        of_a, of_b = two_way_logsumexp(a * scale, b, 1.0, own)
    else:
        of_a = logsumexp(a * scale, gather_with_gradient(b), 1.0, own)
        of_b = logsumexp(b * scale, gather_with_gradient(a), 1.0, own)
    positives = (a * b).sum(1) * scale
    return softplus(of_a - positives), softplus(of_b - positives)


@without_autocast
def crossed_matching(targets: Sequence[Tensor], predictions: Sequence[Tensor], scale: float) -> Tensor:
    """Return the mean over all ranks of ``matching(t1, p2, scale)`` and ``matching(t2, p1, scale)``, of two views each."""
    (t1, t2), (p1, p2) = targets, predictions
    return mean_over_ranks((matching(t1, p2, scale) + matching(t2, p1, scale)).mean() / 2)
