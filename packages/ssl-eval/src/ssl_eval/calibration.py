"""Whether a classifier is right as often as it says."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_eval.accuracies import accuracy


@dataclass
class Reliability:
    """A reliability diagram: samples by the confidence of their prediction, in bins of equal width.

    Attributes
    ----------
    confidence, accuracy : Tensor
        ``(bins,) float64``: means over the samples of a bin, NaN where there is none.
    count : Tensor
        ``(bins,) int64``: samples in each.
    """

    confidence: Tensor
    accuracy: Tensor
    count: Tensor

    @property
    def expected_error(self) -> float:
        """The expected calibration error: the gap of each bin, weighted by its samples; in 0..1."""
        share = self.count / self.count.sum()
        return float(((self.confidence - self.accuracy).abs() * share)[self.count > 0].sum())

    @property
    def largest_error(self) -> float:
        """The maximum calibration error: the gap of the worst bin; in 0..1."""
        return float((self.confidence - self.accuracy).abs()[self.count > 0].max())


@torch.no_grad()
def reliability(probabilities: Tensor, labels: Tensor, bins: int = 15) -> Reliability:
    """Sort predictions by their confidence and count how often each bin is right.

    Parameters
    ----------
    probabilities : Tensor
        ``(M, K)``, rows that sum to one: ``knn`` gives them, ``logits.softmax(1)`` makes them.
    labels : Tensor
        ``(M,)`` integer in ``0..K-1``.
    bins : int
        Of equal width over 0..1; bin b holds confidences in ``(b / bins, (b + 1) / bins]``.

    Returns
    -------
    Reliability
        With ``.expected_error`` (ECE) and ``.largest_error`` (MCE).

    Raises
    ------
    ValueError
        If rows are no probabilities, shapes disagree, or there is no bin.

    References
    ----------
    Guo, Pleiss, Sun & Weinberger: On Calibration of Modern Neural Networks, ICML 2017, https://arxiv.org/abs/1706.04599.

    Examples
    --------
    >>> probabilities = torch.tensor([[0.75, 0.25], [0.75, 0.25]])
    >>> reliability(probabilities, torch.tensor([0, 1]), bins=2).expected_error
    0.25
    """
    accuracy(probabilities, labels, topk=(1,))  # checks both
    if bins < 1:
        raise ValueError(f"bins={bins}: expected 1 or more")
    sums = probabilities.double().sum(1)
    if bool((probabilities < 0).any()) or float((sums - 1).abs().max()) > 1e-2:  # half precision sums to that
        raise ValueError(
            "probabilities must be 0 or more and sum to one in each row, got sums from "
            f"{float(sums.min()):.3g} to {float(sums.max()):.3g}; for logits pass logits.softmax(1)"
        )
    confidence, predicted = probabilities.double().max(1)
    right = (predicted == labels.to(predicted.device)).double()
    place = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)
    count = torch.bincount(place, minlength=bins)
    confidences, rights = (torch.bincount(place, weights=each, minlength=bins) for each in (confidence, right))
    return Reliability(confidences / count, rights / count, count)
