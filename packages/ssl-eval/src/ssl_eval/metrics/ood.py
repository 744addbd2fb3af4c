"""Out-of-distribution detection: scores of samples, and how well a score separates two data sets."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_eval.metrics.auroc import auroc
from ssl_eval.probes.knn_search import nearest
from ssl_eval.probes.linear import LinearProbeResult, linear_probe
from ssl_eval.results import Result
from ssl_eval.validation import check_every_class, check_labels, check_pair, check_values, computed_in

RECALL = 0.95  # of the FPR95


@dataclass(frozen=True, eq=False, repr=False)
class OODResult(Result):
    """Result of :func:`ood_separation`, fractions in 0..1. Samples of the other data set are the positives.

    Attributes
    ----------
    auroc : float
        Probability that a sample of the other data set is more unusual than one of the test set; higher is better.
    fpr95 : float
        Share of the test set that is taken for the other, at the threshold that finds 95 % of the other; lower is better.
    aupr_out, aupr_in : float
        Area under precision and recall with the other data set, or the test set, as positives; higher is better. They depend on
        the sizes of the two data sets.
    """

    auroc: float
    fpr95: float
    aupr_out: float
    aupr_in: float


@torch.no_grad()
def ood_detection(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    other_features: Tensor,
    k: int = 50,
    seed: int = 0,
    probe: LinearProbeResult | None = None,
) -> dict[str, OODResult]:
    """Return how well features separate the test set from another data set, by three scores.

    ``knn``: the distance to the k-th nearest training sample of normalised features (Sun et al. 2022). ``mahalanobis``: the
    squared distance to the nearest class mean, by the covariance that the classes share (Lee et al. 2018). ``max_softmax``: one
    minus the largest probability of the linear probe (Hendrycks & Gimpel 2017).

    Parameters
    ----------
    train_features : Tensor
        ``(N, D)``.
    train_labels : Tensor
        ``(N,)`` integer; every class 0..K-1 has a sample.
    test_features : Tensor
        ``(M, D)``, of the same distribution as the training samples.
    other_features : Tensor
        ``(L, D)``, of another data set.
    k : int
        Neighbour of the kNN distance, at most N.
    seed : int
        Random seed of the samples that the linear probe holds out to choose its regularization.
    probe : LinearProbeResult, optional
        The linear probe of these training samples. Default: fitted here.

    Returns
    -------
    dict
        Name of the score -> :class:`OODResult`. ``max_softmax`` is left out with a single class.

    Raises
    ------
    ValueError
        If features hold NaN, shapes disagree, a class has no sample, or k is out of range.

    References
    ----------
    Sun, Ming, Zhu & Li, ICML 2022, https://arxiv.org/abs/2204.06507; Lee, Lee, Lee & Shin, NeurIPS 2018,
    https://arxiv.org/abs/1807.03888; Hendrycks & Gimpel, ICLR 2017, https://arxiv.org/abs/1610.02136. Conventions of the
    measures: OpenOOD v1.5 (Zhang et al. 2023, https://arxiv.org/abs/2306.09301).

    Examples
    --------
    >>> features, labels = torch.eye(2).repeat(8, 1), torch.arange(2).repeat(8)
    >>> features += 0.1 * torch.rand(features.shape, generator=torch.Generator().manual_seed(0))
    >>> ood_detection(features, labels, features, -features, k=3)["knn"].auroc
    1.0
    """
    check_pair(train_features, test_features)
    check_pair(train_features, other_features)
    check_labels("train_labels", train_labels, len(train_features))
    num_classes = check_every_class(train_labels)
    both = torch.cat([test_features.to(computed_in(test_features)), other_features.to(computed_in(other_features))])
    scores = {
        "knn": knn_distance(train_features, both, k),
        "mahalanobis": mahalanobis_distance(train_features, train_labels, both),
    }
    if num_classes > 1:
        if probe is None:
            unused = train_labels[:1].expand(len(both))  # the probe wants labels for its accuracy
            probe = linear_probe(train_features, train_labels, both, unused, seed=seed)
        logits = torch.addmm(probe.bias.double(), both.double(), probe.weight.double().T)
        scores["max_softmax"] = 1 - logits.softmax(1).amax(1)
    size = len(test_features)
    return {name: ood_separation(score[:size], score[size:]) for name, score in scores.items()}


def knn_distance(train_features: Tensor, features: Tensor, k: int = 50) -> Tensor:
    """Return the distance of each sample to its k-th nearest training sample, a score for out-of-distribution detection.

    Euclidean, between features normalised to length one (Sun, Ming, Zhu & Li 2022, https://arxiv.org/abs/2204.06507).

    Parameters
    ----------
    train_features, features : Tensor
        ``(N, D)`` and ``(M, D)``, on one device.
    k : int
        Number of the neighbour, from 1 to N.

    Returns
    -------
    Tensor
        ``(M,)``, in 0..2; higher is more unusual.

    Raises
    ------
    ValueError
        If features hold NaN, widths disagree, or k is out of range.
    """
    check_pair(train_features, features)
    if not 1 <= k <= len(train_features):
        raise ValueError(f"k={k}: expected 1 up to the number of training samples, {len(train_features)}")
    similarity = nearest(train_features, features, k, "cosine")[0][:, -1]
    return (2 - 2 * similarity).clamp(min=0).sqrt()


def mahalanobis_distance(train_features: Tensor, train_labels: Tensor, features: Tensor) -> Tensor:
    """Return the squared Mahalanobis distance of each sample to its nearest class mean (Lee, Lee, Lee & Shin 2018).

    The covariance is that of the training samples around the means of their classes, divided by N; directions without variance
    are ignored (pseudo-inverse). https://arxiv.org/abs/1807.03888

    Parameters
    ----------
    train_features, features : Tensor
        ``(N, D)`` and ``(M, D)``, on one device.
    train_labels : Tensor
        ``(N,)`` integer; every class 0..K-1 has a sample.

    Returns
    -------
    Tensor
        ``(M,) float64``; higher is more unusual.

    Raises
    ------
    ValueError
        If features hold NaN, widths disagree, or a class has no sample.
    """
    check_pair(train_features, features)
    check_labels("train_labels", train_labels, len(train_features))
    num_classes = check_every_class(train_labels)
    train, labels = train_features.double(), train_labels.to(train_features.device).long()
    means = train.new_zeros(num_classes, train.shape[1]).index_add_(0, labels, train)
    means /= torch.bincount(labels, minlength=num_classes)[:, None]
    centred = train - means[labels]
    variances, directions = torch.linalg.eigh(centred.T @ centred / len(train))
    kept = variances > variances[-1] * len(variances) * torch.finfo(torch.float64).eps
    whitening = directions[:, kept] / variances[kept].sqrt()
    return torch.cdist(features.double() @ whitening, means @ whitening).amin(1).square()


@torch.no_grad()
def ood_separation(test_scores: Tensor, other_scores: Tensor) -> OODResult:
    """Return how well a score separates two data sets.

    Parameters
    ----------
    test_scores, other_scores : Tensor
        ``(M,)`` and ``(L,)``: higher is more unusual.

    Returns
    -------
    OODResult

    Raises
    ------
    ValueError
        If a data set is empty, or a score is not finite.

    Examples
    --------
    >>> ood_separation(torch.tensor([0.1, 0.2, 0.6]), torch.tensor([0.5, 0.9]))
    OODResult(auroc=0.8333, fpr95=0.3333, aupr_out=0.7917, aupr_in=0.9028)
    """
    check_values("test_scores", test_scores, least=1)
    check_values("other_scores", other_scores, least=1)
    scores = torch.cat([test_scores.double(), other_scores.double()])
    is_other = torch.cat([torch.zeros(len(test_scores)), torch.ones(len(other_scores))]).long()
    hits, false = _counts(scores, is_other.to(scores.device) == 1)
    found = hits / len(other_scores)
    fpr95 = float(false[found >= RECALL][0]) / len(test_scores)
    return OODResult(
        auroc(scores, is_other), fpr95, _area(hits, false), _area(*_counts(-scores, is_other.to(scores.device) == 0))
    )


def _counts(scores: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """Return the positives and negatives at or above each threshold, from the highest one down, ``(t,) float64`` each."""
    values, place = scores.unique(return_inverse=True)
    place = len(values) - 1 - place
    hits, false = (torch.bincount(place[part], minlength=len(values)).cumsum(0) for part in (positive, ~positive))
    return hits.double(), false.double()


def _area(hits: Tensor, false: Tensor) -> float:
    """Return the area under precision and recall by trapezoids, which begin at recall 0 with precision 1."""
    one, zero = hits.new_ones(1), hits.new_zeros(1)
    precision, recall = torch.cat([one, hits / (hits + false)]), torch.cat([zero, hits / hits[-1]])
    return float(torch.trapezoid(precision, recall))
