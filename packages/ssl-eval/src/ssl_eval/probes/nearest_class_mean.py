"""The nearest-class-mean classifier: no parameter, no training."""

import torch
from torch import Tensor

from ssl_eval.features import Features, split_of
from ssl_eval.probes.knn import METRICS
from ssl_eval.probes.vectors import unit_rows
from ssl_eval.validation import check_every_class, check_labels, check_pair, computed_in


@torch.no_grad()
def nearest_class_mean(
    train_features: Tensor | Features,
    train_labels: Tensor | None = None,
    test_features: Tensor | None = None,
    metric: str = "cosine",
) -> Tensor:
    """Classify by the nearest class mean: score each class by the similarity of its mean feature.

    Parameters
    ----------
    train_features, test_features : Tensor
        ``(N, D)`` and ``(M, D)``, on one device; or all three as one :class:`ssl_eval.Features`. Computed in float64 if they
        are float64 or their squares do not fit into float32, else in float32.
    train_labels : Tensor
        ``(N,)`` integer; every class 0..K-1 has a training sample.
    metric : {"cosine", "euclidean"}
        ``cosine``: of the feature and the mean of the normalised training features of the class. ``euclidean``: minus the
        distance to the mean of the features, not normalised.

    Returns
    -------
    Tensor
        ``(M, K)``, higher is nearer.

    Raises
    ------
    ValueError
        If features hold NaN, shapes disagree, a class is absent from the training part, or the metric is unknown.

    References
    ----------
    Mensink, Verbeek, Perronnin & Csurka: Distance-Based Image Classification, TPAMI 2013.

    Examples
    --------
    >>> features = torch.tensor([[0.0, 1.0], [0.0, 3.0], [2.0, 0.0]])
    >>> nearest_class_mean(features, torch.tensor([0, 0, 1]), torch.tensor([[3.0, 4.0]]))
    tensor([[0.8000, 0.6000]])
    """
    train_features, train_labels, test_features = split_of(train_features, train_labels, test_features)
    check_pair(train_features, test_features)
    check_labels("train_labels", train_labels, len(train_features))
    num_classes = check_every_class(train_labels)
    if metric not in METRICS:
        raise ValueError(f"metric={metric!r}: expected one of {', '.join(map(repr, METRICS))}")
    dtype = computed_in(train_features, test_features)
    train, test = train_features.to(dtype), test_features.to(dtype)
    if metric == "cosine":
        train, test = unit_rows(train, dtype), unit_rows(test, dtype)
    labels = train_labels.to(train.device).long()
    means = train.new_zeros(num_classes, train.shape[1]).index_add_(0, labels, train)
    means /= torch.bincount(labels, minlength=num_classes)[:, None]
    if metric == "cosine":
        return test @ unit_rows(means, dtype).T
    return -torch.cdist(test, means, compute_mode="donot_use_mm_for_euclid_dist")
