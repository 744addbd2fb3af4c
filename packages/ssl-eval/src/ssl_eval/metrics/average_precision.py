"""Average precision of several labels an image."""

import torch
from torch import Tensor

from ssl_eval.validation import check_real, check_tensor

POINTS = 11  # recalls of the PASCAL VOC 2007 measure: 0, 0.1, ..., 1


@torch.no_grad()
def average_precision(scores: Tensor, targets: Tensor, eleven_points: bool = False) -> Tensor:
    r"""Return the average precision of each label; its mean is the mAP of a multi-label data set.

    .. math:: \mathrm{AP} = \sum_n (R_n - R_{n-1}) P_n, \qquad
        \mathrm{AP}_{11} = \tfrac{1}{11} \sum_{r \in \{0, 0.1, \ldots, 1\}} \max_{n: R_n \ge r} P_n

    with precision P and recall R at the n-th distinct score. Samples with equal scores count together, as for scikit-learn, so
    that the result does not depend on their order.

    Parameters
    ----------
    scores : Tensor
        ``(M, K)``, higher is more likely; only their order within a label matters.
    targets : Tensor
        ``(M, K)`` integer: 1 if the image has the label, 0 if not, -1 to leave the image out for this label (the objects that
        PASCAL VOC calls difficult).
    eleven_points : bool
        Whether to use the definition of PASCAL VOC 2007, with 11 recalls.

    Returns
    -------
    Tensor
        ``(K,) float64``, fractions in 0..1; NaN for a label that no image has.

    Raises
    ------
    ValueError
        If a score is NaN, a target is not 1, 0 or -1, or shapes disagree.

    References
    ----------
    Everingham et al.: The PASCAL Visual Object Classes (VOC) Challenge, IJCV 2010, https://doi.org/10.1007/s11263-009-0275-4,
    section 4.2.

    Examples
    --------
    >>> scores = torch.tensor([[0.9, 0.1], [0.8, 0.7], [0.3, 0.6]])
    >>> average_precision(scores, torch.tensor([[1, 0], [0, 1], [1, 0]]))
    tensor([0.8333, 1.0000], dtype=torch.float64)
    """
    check_tensor("targets", targets)
    check_real("scores", scores)
    if scores.ndim != 2 or scores.shape != targets.shape:
        raise ValueError(
            f"scores and targets must both be (M, K), got {tuple(scores.shape)} and {tuple(targets.shape)}"
        )
    if torch.isnan(scores).any():
        raise ValueError(f"scores must not be NaN: {int(torch.isnan(scores).sum())} of {scores.numel()} are")
    targets = targets.to(scores.device)
    if not bool(((targets == 1) | (targets == 0) | (targets == -1)).all()):
        raise ValueError("targets must be 1, 0 or -1 (left out)")
    return torch.stack([_of_label(scores[:, k], targets[:, k], eleven_points) for k in range(scores.shape[1])])


def _of_label(scores: Tensor, targets: Tensor, eleven_points: bool) -> Tensor:
    scores, targets = scores[targets >= 0], targets[targets >= 0].long()
    positives = int(targets.sum())
    if not positives:
        return torch.tensor(torch.nan, dtype=torch.float64, device=scores.device)
    scores, order = scores.sort(descending=True)
    found = targets[order].cumsum(0)
    last = torch.ones_like(scores, dtype=torch.bool)
    last[:-1] = scores[1:] != scores[:-1]  # the last of equal scores
    found, taken = found[last], last.nonzero()[:, 0] + 1
    precision = found.double() / taken
    if not eleven_points:
        new = torch.cat([found[:1], found.diff()])
        return (precision * new).sum() / positives
    best = precision.flip(0).cummax(0).values.flip(0)  # at this recall or a higher one
    needed = torch.arange(POINTS, device=scores.device) * positives  # compared as integers: 10 found >= k positives
    return best[torch.searchsorted((POINTS - 1) * found, needed)].mean()
