"""Weighted k-nearest-neighbour classification in bounded memory."""

import torch
from torch import Tensor

from ssl_eval.features import Features, split_of
from ssl_eval.probes.knn_search import nearest
from ssl_eval.validation import check_labels, check_pair, returned_in

METRICS = ("cosine", "euclidean")


@torch.no_grad()
def knn(
    train_features: Tensor | Features,
    train_labels: Tensor | None = None,
    test_features: Tensor | None = None,
    k: int = 20,
    temperature: float = 0.07,
    metric: str = "cosine",
    num_classes: int | None = None,
    query_chunk: int | None = None,
    reference_chunk: int | None = None,
) -> Tensor:
    """Classify by the k nearest training features, each voting with weight ``exp(similarity / temperature)``.

    The similarity is the cosine, or ``-distance² / 2`` for the Euclidean metric: on features of length one both give
    the same votes. Votes are divided by their sum.

    Parameters
    ----------
    train_features : Tensor
        ``(N, D)``, the references; or all three arguments as one :class:`ssl_eval.Features`.
    train_labels : Tensor
        ``(N,)`` integer, 0 or more.
    test_features : Tensor
        ``(M, D)``, the queries, on the same device.
    k : int
        Number of neighbours that vote, at most N. 20 and 200 are usual.
    temperature : float
        In units of the similarity. A smaller value gives more weight to the nearest; ``math.inf`` is a majority vote.
    metric : {"cosine", "euclidean"}
        A feature of length zero has cosine 0 with every other.
    num_classes : int, optional
        K; by default one more than the largest training label.
    query_chunk, reference_chunk : int, optional
        Rows of each set that are taken at a time; by default as many as take 32 MiB, the references rounded to bfloat16 and
        the queries in float32, but at most 65,536. In addition to arguments and result, memory is twice these and the
        products of 256 queries with a chunk of references (32 MiB): about 200 MB for up to 8,192 features, for any N and M
        (and up to 512, or 4 k, pairs of each of those 256).

    Returns
    -------
    Tensor
        ``(M, K)``, shares of the vote that sum to one, 0 for a class without a vote; float64 for float64 features, else
        float32. :func:`ssl_eval.accuracy` counts no hit for a class without a vote.

    Raises
    ------
    ValueError
        If features hold NaN, labels are missing, shapes disagree, k is larger than N, or an option is out of range.

    Notes
    -----
    Ties. Of references equally near at the k-th place, those of lower index vote. Equality is that of the similarities
    as computed: equal references are equally near, but two similarities that are equal on paper may differ by rounding.
    Classes with equal votes have equal scores: :func:`ssl_eval.accuracy` shares the hit among them, whereas ``argmax``
    takes the lower number.

    Speed. On a CPU, products of all pairs in bfloat16 (where the processor has it) or float32 exclude the pairs that, by a
    bound of their error, cannot be among the k nearest; the rest, about 2 k per query, is compared in full precision. So the
    neighbours are those of a comparison of all pairs. See ``ssl_eval/probes/knn_prefilter.py``.

    References
    ----------
    Wu, Xiong, Yu, Lin: Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018,
    https://arxiv.org/abs/1805.01978 (k = 200, temperature 0.07).

    Examples
    --------
    >>> import torch
    >>> references = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> knn(references, torch.tensor([0, 0, 1]), torch.tensor([[2.0, 0.1]]), k=2)
    tensor([[1., 0.]])
    """
    train_features, train_labels, test_features = split_of(train_features, train_labels, test_features)
    check_pair(train_features, test_features)
    check_labels("train_labels", train_labels, len(train_features), num_classes)
    if not 1 <= k <= len(train_features):
        raise ValueError(f"k={k}: expected 1 up to the number of training samples, {len(train_features)}")
    if not temperature > 0:
        raise ValueError(f"temperature={temperature}: expected above 0 (math.inf for the plain majority vote)")
    if metric not in METRICS:
        raise ValueError(f"metric={metric!r}: expected one of {', '.join(map(repr, METRICS))}")
    if any(chunk is not None and chunk < 1 for chunk in (query_chunk, reference_chunk)):
        raise ValueError(f"query_chunk={query_chunk}, reference_chunk={reference_chunk}: expected 1 or more")

    values, neighbours = nearest(train_features, test_features, k, metric, query_chunk, reference_chunk)
    labels = train_labels.to(train_features.device).long()
    # Dividing by the largest weight does not change the shares, and avoids an overflow at low temperatures.
    weights = torch.exp((values - values[:, :1]) / temperature)
    votes = weights.new_zeros(len(weights), int(labels.max()) + 1 if num_classes is None else num_classes)
    votes.scatter_add_(1, labels[neighbours], weights)
    return (votes / votes.sum(1, keepdim=True)).to(returned_in(train_features, test_features))
