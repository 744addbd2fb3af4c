"""Accuracy from scores: at once, by class, and counted batch after batch on any number of ranks."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ssl_eval.checks import check_labels


def accuracy(scores: Tensor, labels: Tensor, topk: Sequence[int] = (1, 5)) -> tuple[float, ...]:
    """Return the share of samples whose label is among the k highest scores, for each k.

    Of equal scores the lower class number ranks first, as in ``argmax``; a model that gives every class the same score
    is therefore right on class 0 only.

    Parameters
    ----------
    scores : Tensor
        ``(M, K)``, higher is likelier: logits, probabilities, votes.
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

    Examples
    --------
    >>> import torch
    >>> scores = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]])
    >>> accuracy(scores, torch.tensor([1, 1]), topk=(1, 2))
    (0.5, 1.0)
    """
    counter = AccuracyCounter(topk, device=scores.device)
    counter.update(scores, labels)
    return tuple(counter.compute().values())


def per_class_accuracy(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the top-1 accuracy on the samples of each class; its mean is the balanced accuracy.

    Parameters
    ----------
    scores : Tensor
        ``(M, K)``, higher is likelier.
    labels : Tensor
        ``(M,)`` integer in ``0..K-1``.

    Returns
    -------
    Tensor
        ``(K,) float64``, fractions in 0..1; NaN for a class without a sample.

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
    right = _rank_of_label(scores, labels) == 0
    num_classes = scores.shape[1]
    labels = labels.long()
    return torch.bincount(labels[right], minlength=num_classes).double() / torch.bincount(labels, minlength=num_classes)


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
        Where ``counts`` lies: that of the scores.

    Attributes
    ----------
    counts : Tensor
        ``(1 + len(topk),) int64``: samples seen, then the hits of each k. In a distributed evaluation, ``all_reduce``
        it with a sum (or assign the sum) before :meth:`compute`; integers make the result exact on any number of ranks.

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
        if scores.ndim == 2 and max(self.topk) > scores.shape[1]:
            raise ValueError(
                f"topk={max(self.topk)} needs as many classes, got scores of K={scores.shape[1]}; "
                f"pass topk={tuple(k for k in self.topk if k <= scores.shape[1]) or (1,)}"
            )
        rank = _rank_of_label(scores, labels)
        hits = [(rank < k).sum() for k in self.topk]
        self.counts += torch.stack([torch.full_like(hits[0], len(rank)), *hits]).to(self.counts.device)

    def compute(self) -> dict[str, float]:
        """Return ``{"top1": ..., "top5": ...}``, fractions in 0..1; raises ``ValueError`` before the first sample."""
        total, *hits = self.counts.tolist()
        if total == 0:
            raise ValueError("accuracy needs at least one sample, got none: no batch was counted, or none had labels")
        return {f"top{k}": hit / total for k, hit in zip(self.topk, hits)}


def _rank_of_label(scores: Tensor, labels: Tensor) -> Tensor:
    """Return ``(M,) int64``: how many classes rank before the label, by score and then by class number."""
    if scores.ndim != 2 or scores.shape[1] == 0:
        raise ValueError(f"scores must be (M, K) with K at least 1, got shape {tuple(scores.shape)}")
    check_labels("labels", labels, len(scores), num_classes=scores.shape[1])
    if torch.isnan(scores).any():
        rows = torch.isnan(scores).any(1).sum()
        raise ValueError(f"scores must not be NaN: {int(rows)} of {len(scores)} rows are; has the training diverged?")
    labels = labels.to(scores.device).long()[:, None]
    own = scores.gather(1, labels)
    # Counting needs no sort and, unlike topk, says what happens to equal scores.
    earlier = torch.arange(scores.shape[1], device=scores.device) < labels
    return ((scores > own) | ((scores == own) & earlier)).sum(1)
