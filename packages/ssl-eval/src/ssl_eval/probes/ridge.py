"""The ridge probe: least squares in closed form, with the regularisation chosen by leave-one-out validation."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_eval.features import Features, split_of
from ssl_eval.metrics.accuracy import accuracy
from ssl_eval.probes.linear import scale_of
from ssl_eval.results import ProbeResult
from ssl_eval.validation import check_even, check_split, chosen_from

REGULARIZATIONS = tuple(10.0**power for power in range(-6, 3))
CHUNK_ROWS = 8192  # converted to float64 at a time


@dataclass(frozen=True, eq=False, repr=False)
class RidgeProbeResult(ProbeResult):
    """Result of :func:`ridge_probe`: ``accuracy``, ``scores`` (float64, near 1 for the class, else near -1), the classifier.

    Attributes
    ----------
    regularization : float
        The regularisation that was used, chosen or given.
    weight, bias : Tensor
        ``(K, D)`` and ``(K,)`` for features as they were given (the standardisation is folded in).
    left_out_errors : dict
        Regularisation -> mean squared error of the training samples, each predicted without itself.
    """

    regularization: float
    weight: Tensor
    bias: Tensor
    left_out_errors: dict[float, float]


@torch.no_grad()
def ridge_probe(
    train_features: Tensor | Features,
    train_labels: Tensor | None = None,
    test_features: Tensor | None = None,
    test_labels: Tensor | None = None,
    regularization: float | None = None,
    candidates: Sequence[float] = REGULARIZATIONS,
) -> RidgeProbeResult:
    r"""Fit ridge regression to targets of 1 for a sample's class and -1 for the others, and test it.

    Minimises the mean squared error plus ``regularization * |weight|²`` over features standardised with the mean and the
    deviation of the training part; in scikit-learn's terms ``alpha = N * regularization``. One eigendecomposition of the
    covariance serves all candidates. The leave-one-out error of training sample i is :math:`r_i / (1 - h_i)`, with the residual
    :math:`r_i` and the leverage :math:`h_i` of the fit to all samples.

    Parameters
    ----------
    train_features, test_features : Tensor
        ``(N, D)`` and ``(M, D)``, on one device; or all four as one :class:`ssl_eval.Features`. Computed in float64, by chunks
        of rows; additional memory: ``3 * D * D`` numbers.
    train_labels, test_labels : Tensor
        ``(N,)`` and ``(M,)`` integer; every class 0..K-1 has a training sample.
    regularization : float, optional
        Above 0. By default the candidate with the smallest mean squared leave-one-out error. The test samples are not used.
    candidates : sequence of float
        Values to try, above 0.

    Returns
    -------
    RidgeProbeResult

    Raises
    ------
    ValueError
        If features hold NaN, shapes disagree, a class is absent from the training part, or an option is out of range.

    References
    ----------
    Golub, Heath & Wahba: Generalized Cross-Validation, Technometrics 1979 (the left-out error in closed form).

    Examples
    --------
    >>> features = torch.tensor([[0.0, 0.1], [0.1, 0.0], [1.0, 0.9], [0.9, 1.0]])
    >>> labels = torch.tensor([0, 0, 1, 1])
    >>> ridge_probe(features, labels, features, labels).accuracy
    1.0
    """
    train_features, train_labels, test_features, test_labels = split_of(
        train_features, train_labels, test_features, test_labels
    )
    num_classes = check_split(train_features, train_labels, test_features, test_labels)
    candidates = chosen_from(regularization, candidates)
    check_even("train_features", train_features)

    labels = train_labels.to(train_features.device).long()
    moments = _Moments.of(train_features, labels, num_classes)
    errors = moments.left_out_errors(train_features, labels, candidates) if len(candidates) > 1 else {}
    chosen = min(candidates, key=lambda each: errors.get(each, 0.0))
    weight = moments.solve(chosen).T / moments.scale
    bias = moments.target_mean - weight @ moments.mean
    scores = torch.addmm(bias, test_features.double(), weight.T)
    return RidgeProbeResult(accuracy(scores, test_labels, topk=(1,))[0], scores, chosen, weight, bias, errors)


@dataclass
class _Moments:
    """Statistics that all ridge solutions of one training set share: means, and the covariance by its eigenvectors."""

    mean: Tensor  # (D,) of the features
    scale: Tensor  # (D,) their deviation, 1 where they are constant
    target_mean: Tensor  # (K,)
    values: Tensor  # (D,) eigenvalues of the correlation matrix
    vectors: Tensor  # (D, D)
    cross: Tensor  # (D, K) covariance of features and targets, in the eigenvectors' basis

    @classmethod
    def of(cls, features: Tensor, labels: Tensor, num_classes: int) -> "_Moments":
        samples, width = features.shape
        mean = features.mean(0, dtype=torch.float64)
        target_mean = 2.0 * torch.bincount(labels, minlength=num_classes).double() / samples - 1.0
        moment, cross = mean.new_zeros(width, width), mean.new_zeros(width, num_classes)
        for rows, classes in zip(features.split(CHUNK_ROWS), labels.split(CHUNK_ROWS)):
            x = rows.double() - mean
            moment.addmm_(x.T, x, alpha=1 / samples)
            cross.addmm_(x.T, _targets(classes, target_mean), alpha=1 / samples)
        held_in = features.dtype if features.is_floating_point() else torch.float64
        scale = scale_of(moment.diagonal().sqrt(), mean, held_in)
        values, vectors = torch.linalg.eigh(moment / torch.outer(scale, scale))
        return cls(mean, scale, target_mean, values.clamp(min=0), vectors, vectors.T @ (cross / scale[:, None]))

    def solve(self, regularization: float) -> Tensor:
        """Return the weights ``(D, K)`` for standardised features."""
        return self.vectors @ (self.cross / (self.values + regularization)[:, None])

    def left_out_errors(self, features: Tensor, labels: Tensor, candidates: Sequence[float]) -> dict[float, float]:
        """Return the mean squared error of the samples for each candidate, each sample predicted without itself."""
        errors = dict.fromkeys(candidates, 0.0)
        for rows, classes in zip(features.split(CHUNK_ROWS), labels.split(CHUNK_ROWS)):
            x, y = ((rows.double() - self.mean) / self.scale) @ self.vectors, _targets(classes, self.target_mean)
            for candidate in candidates:
                shrunk = x / (self.values + candidate)
                leverage = ((x * shrunk).sum(1, keepdim=True) + 1) / len(features)  # + 1: the mean is fitted, too
                left_out = (y - shrunk @ self.cross) / (1 - leverage)
                errors[candidate] += float(left_out.square().mean(1).sum()) / len(features)
        return errors


def _targets(labels: Tensor, mean: Tensor) -> Tensor:
    return 2.0 * F.one_hot(labels, len(mean)).double() - 1.0 - mean
