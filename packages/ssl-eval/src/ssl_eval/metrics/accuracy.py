"""Top-k accuracy: of all scores, per class, and accumulated over batches and ranks.

Hand-written, since the usual implementations decide ties by the number of the class, which favours low numbers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ssl_eval.validation import check_labels, check_real, check_tensor

SHARE_UNITS = 2**20  # one hit in the units of AccuracyCounter.counts, to which shares of a hit are rounded
SUM_TOLERANCE = 1e-2  # largest deviation of the sum of probabilities from one; half precision needs it


def accuracy(scores: Tensor, labels: Tensor, topk: Sequence[int] = (1, 5)) -> tuple[float, ...]:
    """Return the top-k accuracy: the share of samples whose label is among the k highest scores, for each k.

    Parameters
    ----------
    scores : Tensor
        ``(M, K)``, higher is more likely: logits, probabilities, votes. Nonnegative rows that sum to one are probabilities
        or shares of a vote.
    labels : Tensor
        ``(M,)`` integer in ``0..K-1``.
    topk : sequence of int
        The values of k, each in ``1..K``.

    Returns
    -------
    tuple of float
        Fractions in 0..1, in the order of ``topk``.

    Raises
    ------
    ValueError
        If there is no sample, a score is NaN, a label is out of range, shapes disagree, or a k is larger than K.

    Notes
    -----
    Ties. A label with the same score as other classes counts as the share of these classes that fits into the top k: the
    mean over all orders of equal scores. A model that gives every class the same score therefore has the
    accuracy of chance, k / K, and the result does not depend on how classes are numbered.

    Classes without a vote. A label with probability 0, or with score minus infinity, is never a hit, even if fewer than
    k classes have more: the five nearest classes of a single neighbour are one class. Other zeros, such as those of
    logits, are ordinary scores.

    Examples
    --------
    >>> import torch
    >>> scores = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]])
    >>> accuracy(scores, torch.tensor([1, 1]), topk=(1, 2))
    (0.5, 1.0)
    >>> accuracy(torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([0]), topk=(1, 2))  # votes, none of them for class 0
    (0.0, 0.0)
    """
    check_tensor("scores", scores)
    counter = AccuracyCounter(topk, device=scores.device)
    counter.update(scores, labels)
    return tuple(counter.compute().values())


def per_class_accuracy(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the top-1 accuracy on the samples of each class; its mean is the balanced accuracy.

    Parameters
    ----------
    scores : Tensor
        ``(M, K)``, higher is more likely.
    labels : Tensor
        ``(M,)`` integer in ``0..K-1``.

    Returns
    -------
    Tensor
        ``(K,) float64``, fractions in 0..1; NaN for a class without a sample. Ties as in :func:`accuracy`.

    Raises
    ------
    ValueError
        If a score is NaN, a label is out of range, or shapes disagree.

    Examples
    --------
    >>> import torch
    >>> scores = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    >>> per_class_accuracy(scores, torch.tensor([0, 1, 1]))
    tensor([1.0000, 0.5000], dtype=torch.float64)
    """
    (right,) = hit_shares(scores, labels, (1,))
    labels, num_classes = labels.to(scores.device).long(), scores.shape[1]
    counts = torch.bincount(labels, minlength=num_classes)
    return torch.bincount(labels, weights=right, minlength=num_classes) / counts


def balanced_accuracy(scores: Tensor, labels: Tensor) -> float:
    """Return the mean over classes of :func:`per_class_accuracy`, a fraction in 0..1; classes without a sample are left out.

    Parameters and errors are those of :func:`per_class_accuracy`; without any sample it is NaN.

    Examples
    --------
    >>> scores = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    >>> balanced_accuracy(scores, torch.tensor([0, 1, 1]))
    0.75
    """
    return float(per_class_accuracy(scores, labels).nanmean())


class AccuracyCounter:
    """Top-k accuracy counted over batches; the counts of several ranks add up to those of one.

    Parameters
    ----------
    topk : sequence of int
        The values of k.
    device : torch.device or str
        Device of ``counts``, equal to that of the scores.

    Attributes
    ----------
    counts : Tensor
        ``(1 + len(topk),) int64``: samples seen, then the hits of each k in units of ``2**-20``, since a tie is a share
        of a hit. In a distributed evaluation, ``all_reduce`` it with a sum (or assign the sum) before :meth:`compute`;
        integers make the result exact on any number of ranks.

    Examples
    --------
    >>> import torch
    >>> first, second = AccuracyCounter(topk=(1,)), AccuracyCounter(topk=(1,))  # two ranks
    >>> first.update(torch.tensor([[0.9, 0.1]]), torch.tensor([0]))
    >>> second.update(torch.tensor([[0.9, 0.1], [0.6, 0.4]]), torch.tensor([1, 0]))
    >>> first.counts += second.counts
    >>> f"{first.compute()['top1']:.3f}"
    '0.667'
    """

    def __init__(self, topk: Sequence[int] = (1, 5), device: torch.device | str = "cpu") -> None:
        if not topk or min(topk) < 1:
            raise ValueError(f"topk must hold one or more integers of at least 1, got {tuple(topk)}")
        self.topk = tuple(topk)
        self.counts = torch.zeros(1 + len(self.topk), dtype=torch.int64, device=device)

    def update(self, scores: Tensor, labels: Tensor) -> None:
        """Count one batch: ``scores (M, K)``, ``labels (M,)``; M may be 0. Raises as :func:`accuracy` does."""
        check_tensor("scores", scores)
        if scores.ndim == 2 and max(self.topk) > scores.shape[1]:
            raise ValueError(
                f"topk={max(self.topk)} needs as many classes, got scores of K={scores.shape[1]}; "
                f"pass topk={tuple(k for k in self.topk if k <= scores.shape[1]) or (1,)}"
            )
        hits = [(share * SHARE_UNITS).round().long().sum() for share in hit_shares(scores, labels, self.topk)]
        self.counts += torch.stack([torch.full_like(hits[0], len(scores)), *hits]).to(self.counts.device)

    def compute(self) -> dict[str, float]:
        """Return ``{"top1": ..., "top5": ...}``, fractions in 0..1; raises ``ValueError`` before the first sample."""
        total, *hits = self.counts.tolist()
        if total == 0:
            raise ValueError("accuracy needs at least one sample, got none: no batch was counted, or none had labels")
        return {f"top{k}": hit / (total * SHARE_UNITS) for k, hit in zip(self.topk, hits)}


def hit_shares(scores: Tensor, labels: Tensor, topk: Sequence[int]) -> list[Tensor]:
    """Return ``(M,) float64`` for each k: 1 for a hit, 0 for none, a share where the label's score is tied.

    Parameters and ties are those of :func:`accuracy`.
    """
    check_real("scores", scores)
    if scores.ndim != 2 or scores.shape[1] == 0:
        raise ValueError(f"scores must be (M, K) with K at least 1, got shape {tuple(scores.shape)}")
    check_labels("labels", labels, len(scores), num_classes=scores.shape[1])
    if torch.isnan(scores).any():
        rows = torch.isnan(scores).any(1).sum()
        raise ValueError(f"scores must not be NaN: {int(rows)} of {len(scores)} rows are; has the training diverged?")
    at_label = scores.gather(1, labels.to(scores.device).long()[:, None])
    # Counting needs no sort and, unlike topk, is the same for every numbering of the classes.
    above, equal = (scores > at_label).sum(1), (scores == at_label).sum(1)
    possible = at_label[:, 0] > -torch.inf
    zero = (at_label[:, 0] == 0).nonzero()[:, 0]
    possible[zero] = ~are_probabilities(scores[zero])
    return [((k - above).clamp(min=0).double() / equal).clamp(max=1) * possible for k in topk]


def are_probabilities(scores: Tensor) -> Tensor:
    """Return ``(M,) bool``: which rows are 0 or more and sum to one, up to rounding."""
    return (scores >= 0).all(1) & ((scores.double().sum(1) - 1).abs() <= SUM_TOLERANCE)


def check_probabilities(name: str, probabilities: Tensor) -> None:
    """Raise ``ValueError`` unless every row is 0 or more and sums to one."""
    if not bool(are_probabilities(probabilities).all()):
        sums = probabilities.double().sum(1)
        raise ValueError(
            f"{name} must be 0 or more and sum to one in each row, got sums from {float(sums.min()):.3g} to "
            f"{float(sums.max()):.3g}; for logits pass logits.softmax(1)"
        )


def predicted_classes(scores: Tensor) -> Tensor:
    """Return ``(M,) int64``: the class with the highest score ``(M, K)``; of t tied ones, sample i takes number i mod t.

    ``argmax`` always takes the lowest number, which would predict low classes too often.
    """
    predicted = scores.argmax(1)
    highest = scores == scores.gather(1, predicted[:, None])
    tied = (highest.sum(1) > 1).nonzero()[:, 0]
    place = highest[tied].cumsum(1)  # 1, 2, ... at the tied classes
    predicted[tied] = (place > (tied % place[:, -1])[:, None]).int().argmax(1)  # the first 1 of several
    return predicted
