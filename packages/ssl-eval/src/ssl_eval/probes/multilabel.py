"""Linear probe of images with several labels: a logistic regression for each label."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_eval.metrics.average_precision import average_precision
from ssl_eval.probes.linear import linear_probe
from ssl_eval.results import Result
from ssl_eval.validation import check_pair, check_tensor


@dataclass(frozen=True, eq=False, repr=False)
class MultilabelProbeResult(Result):
    """Result of :func:`multilabel_probe`.

    Attributes
    ----------
    mean_average_precision : float
        Mean over the labels that at least one test image has, a fraction in 0..1.
    average_precisions, scores : Tensor
        ``(K,)``, NaN for a label without a test image; and ``(M, K)``, the log-odds of each label.
    """

    mean_average_precision: float
    average_precisions: Tensor
    scores: Tensor


@torch.no_grad()
def multilabel_probe(
    train_features: Tensor, train_targets: Tensor, test_features: Tensor, test_targets: Tensor, seed: int = 0,
    eleven_points: bool = True,
) -> MultilabelProbeResult:  # fmt: skip
    """Fit a :func:`linear_probe` to each label of a multi-label data set, and return the mean average precision.

    The protocol for PASCAL VOC 2007 of Kornblith et al. (2019, https://arxiv.org/abs/1805.08974).

    Parameters
    ----------
    train_features, test_features : Tensor
        ``(N, D)`` and ``(M, D)``, on one device.
    train_targets, test_targets : Tensor
        ``(N, K)`` and ``(M, K)`` integer: 1 if the image has the label, 0 if not, -1 to leave it out for this label.
    seed : int
        Random seed of the held-out samples that choose the regularisation.
    eleven_points : bool
        As for :func:`average_precision`.

    Raises
    ------
    ValueError
        If a label has no training image with it or without it, and as :func:`linear_probe` and :func:`average_precision`.

    Examples
    --------
    >>> features, targets = torch.eye(4).repeat(8, 1), torch.tensor([[1, 0], [1, 1], [0, 1], [0, 0]]).repeat(8, 1)
    >>> multilabel_probe(features, targets, features, targets).mean_average_precision
    1.0
    """
    check_pair(train_features, test_features)
    for name, each in (("train_targets", train_targets), ("test_targets", test_targets)):
        check_tensor(name, each)
    if train_targets.ndim != 2 or test_targets.shape[1:] != train_targets.shape[1:]:
        shapes = f"{tuple(train_targets.shape)} and {tuple(test_targets.shape)}"
        raise ValueError(f"train_targets and test_targets must be (N, K) and (M, K), got {shapes}")
    scores = []
    for label in range(train_targets.shape[1]):
        targets = train_targets[:, label].to(train_features.device)
        known = targets >= 0
        if len(targets[known].unique()) < 2:
            raise ValueError(f"train_targets: label {label} needs an image with it and one without it")
        unused = torch.zeros(len(test_features), dtype=torch.int64)
        found = linear_probe(train_features[known], targets[known], test_features, unused, seed=seed).scores
        scores.append(found[:, 1] - found[:, 0])
    stacked = torch.stack(scores, 1)
    precisions = average_precision(stacked, test_targets, eleven_points)
    return MultilabelProbeResult(float(precisions.nanmean()), precisions, stacked)
