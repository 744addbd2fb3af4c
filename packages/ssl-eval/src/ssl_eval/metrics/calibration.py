"""Calibration of a classifier: reliability diagram, expected and maximum calibration error.

Hand-written, three lines with torch only: a diagram has the counts of each bin, which other implementations do not return.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_eval.metrics.accuracy import check_probabilities, hit_shares


@dataclass
class Reliability:
    """Reliability diagram: samples grouped by the confidence of their prediction, in bins of equal width.

    Attributes
    ----------
    confidence, accuracy : Tensor
        ``(bins,) float64``: means over the samples of a bin, NaN for an empty bin.
    count : Tensor
        ``(bins,) int64``: samples of each bin.
    """

    confidence: Tensor
    accuracy: Tensor
    count: Tensor

    @property
    def expected_error(self) -> float:
        """Expected calibration error (ECE): mean gap of accuracy and confidence, weighted by the samples of a bin; in 0..1."""
        share = self.count / self.count.sum()
        return float(((self.confidence - self.accuracy).abs() * share)[self.count > 0].sum())

    @property
    def largest_error(self) -> float:
        """Maximum calibration error (MCE): the largest gap of accuracy and confidence of a bin; in 0..1."""
        return float((self.confidence - self.accuracy).abs()[self.count > 0].max())


@torch.no_grad()
def reliability(probabilities: Tensor, labels: Tensor, bins: int = 15) -> Reliability:
    """Return the reliability diagram of predictions: accuracy by confidence, in bins of equal width.

    Parameters
    ----------
    probabilities : Tensor
        ``(M, K)``, rows that sum to one, as from ``knn`` or ``logits.softmax(1)``. If t classes share the highest one, a label
        among them counts as 1 / t of a hit.
    labels : Tensor
        ``(M,)`` integer in ``0..K-1``.
    bins : int
        Number of bins of equal width over 0..1; bin b holds confidences in ``(b / bins, (b + 1) / bins]``.

    Returns
    -------
    Reliability
        With ``.expected_error`` (ECE) and ``.largest_error`` (MCE).

    Raises
    ------
    ValueError
        If there is no sample, rows are not probabilities, shapes disagree, or ``bins`` is below 1.

    Notes
    -----
    A confidence on the edge of two bins belongs to the lower one, as in the paper and in scikit-learn's ``calibration_curve``;
    torchmetrics' ``calibration_error`` puts it into the upper one. The two differ for scores of few distinct values, such as
    shares of a vote. Ties of the highest probability are shared here; the other two take the class with the lowest number.

    References
    ----------
    Guo, Pleiss, Sun & Weinberger: On Calibration of Modern Neural Networks, ICML 2017, https://arxiv.org/abs/1706.04599.

    Examples
    --------
    >>> probabilities = torch.tensor([[0.75, 0.25], [0.75, 0.25]])
    >>> reliability(probabilities, torch.tensor([0, 1]), bins=2).expected_error
    0.25
    """
    (right,) = hit_shares(probabilities, labels, (1,))
    if len(probabilities) == 0:
        raise ValueError("reliability needs at least one sample, got none")
    if bins < 1:
        raise ValueError(f"bins={bins}: expected 1 or more")
    check_probabilities("probabilities", probabilities)
    confidence = probabilities.double().amax(1)
    place = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)
    count = torch.bincount(place, minlength=bins)
    confidences, rights = (torch.bincount(place, weights=each, minlength=bins) for each in (confidence, right))
    return Reliability(confidences / count, rights / count, count)
