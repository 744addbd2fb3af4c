"""Linear probe: logistic regression on frozen features, with the regularisation chosen on held-out training samples."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_eval.features import Features, split_of
from ssl_eval.metrics.accuracy import accuracy
from ssl_eval.probes.lbfgs import Fit, LogisticRegression
from ssl_eval.results import ProbeResult
from ssl_eval.validation import check_even, check_split, chosen_from, computed_in

# From strong to weak, since each solution is the start of the next; half decades, for the accuracy is flat between.
REGULARIZATIONS = (1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)

CHUNK_ROWS = 1024


@dataclass(frozen=True, eq=False, repr=False)
class LinearProbeResult(ProbeResult):
    """Result of :func:`linear_probe`: ``accuracy``, ``scores`` (``test_features @ weight.T + bias``) and the classifier.

    Attributes
    ----------
    regularization : float
        The regularisation that was used, chosen or given.
    weight, bias : Tensor
        ``(K, D)`` and ``(K,)``, for features as they were given (the standardisation is folded in).
    objective : float
        Mean training cross-entropy plus penalty at the solution.
    iterations : int
        Number of L-BFGS iterations of the last fit.
    converged : bool
        False if ``max_iterations`` was reached (with a warning).
    validation_losses : dict
        Regularisation -> mean cross-entropy of the held-out samples; empty where the regularisation was given.
    """

    regularization: float
    weight: Tensor
    bias: Tensor
    objective: float
    iterations: int
    converged: bool
    validation_losses: dict[float, float]


@torch.no_grad()
def linear_probe(
    train_features: Tensor | Features,
    train_labels: Tensor | None = None,
    test_features: Tensor | None = None,
    test_labels: Tensor | None = None,
    regularization: float | None = None,
    candidates: Sequence[float] = REGULARIZATIONS,
    validation_fraction: float = 0.2,
    seed: int = 0,
    standardize: bool = True,
    tolerance: float = 1e-4,
    max_iterations: int = 1000,
) -> LinearProbeResult:
    """Fit multinomial logistic regression to frozen features, by L-BFGS to convergence, and test it.

    Minimises the mean cross-entropy plus ``regularization / 2 * |weight|²`` over features standardised with the mean
    and the deviation of the training part; constant features are only centred. In scikit-learn's terms
    ``C = 1 / (N * regularization)``. The test samples are used for the score only.

    Parameters
    ----------
    train_features, test_features : Tensor
        ``(N, D)`` and ``(M, D)``, on one device; or all four as one :class:`ssl_eval.Features`. Computed in float64 if they are
        float64 or their squares do not fit into float32, else in float32.
    train_labels, test_labels : Tensor
        ``(N,)`` and ``(M,)`` integer; every class 0..K-1 has a training sample.
    regularization : float, optional
        Above 0. By default the candidate with the lowest cross-entropy on a stratified part of the training samples
        that is held out; then all training samples are fitted again with it. (Cross-entropy and not accuracy: a few
        dozen held-out samples cannot tell accuracies apart.)
    candidates : sequence of float
        Values to try, from the largest down, until two in a row are worse than the best.
    validation_fraction : float
        Share of each class that is held out, in (0, 1); at least one sample of a class that has two.
    seed : int
        Random seed of the held-out samples.
    standardize : bool
        False if the features are standardised already: the penalty depends on their scale.
    tolerance : float
        Relative tolerance: the objective ends within this fraction of its minimum.
    max_iterations : int
        Largest number of L-BFGS iterations of one fit. Reaching it is a ``RuntimeWarning``.

    Returns
    -------
    LinearProbeResult
        With ``.accuracy``, ``.scores (M, K)``, ``.regularization`` and the classifier.

    Raises
    ------
    ValueError
        If features hold NaN, shapes disagree, a class is absent from the training part, an option is out of range, no
        class has two samples to hold one out, or a training row is a million times as large as the median row:
        standardised, all others would be the same.

    Notes
    -----
    Memory: one copy of each set of features in the dtype of computation, and 64 MiB.

    Examples
    --------
    >>> import torch
    >>> features = torch.tensor([[0.0, 0.1], [0.1, 0.0], [1.0, 0.9], [0.9, 1.0]])
    >>> labels = torch.tensor([0, 0, 1, 1])
    >>> result = linear_probe(features, labels, features, labels)
    >>> result.accuracy, result.scores.shape
    (1.0, torch.Size([4, 2]))
    """
    train_features, train_labels, test_features, test_labels = split_of(
        train_features, train_labels, test_features, test_labels
    )
    num_classes = check_split(train_features, train_labels, test_features, test_labels)
    candidates = chosen_from(regularization, candidates)
    if not 0 < validation_fraction < 1:
        raise ValueError(f"validation_fraction={validation_fraction}: expected between 0 and 1")

    labels = train_labels.to(train_features.device).long()
    if standardize:
        check_even("train_features", train_features)
    features = train_features.to(computed_in(train_features, test_features))
    num_fitted = len(labels)
    if len(candidates) > 1:
        # The held-out rows are last, so that both parts are views of one copy.
        fitted, held_out = hold_out(labels, validation_fraction, seed, "regularization=0.01")
        order, num_fitted = torch.cat([fitted, held_out]), len(fitted)
        features, labels = features[order], labels[order]
    elif standardize:
        features = features.clone()
    mean, scale = features.new_zeros(features.shape[1]), features.new_ones(features.shape[1])
    if standardize:
        mean, scale = standardization(features)
        features.sub_(mean).div_(scale)

    start: Fit | None = None
    losses: dict[float, float] = {}
    regularization = candidates[0]
    if num_fitted < len(labels):
        start, regularization, losses = _select(features, labels, num_fitted, num_classes, candidates)
    fit = LogisticRegression(features, labels, num_classes).fit(regularization, start, tolerance, max_iterations)
    if not fit.converged:
        warnings.warn(
            f"linear_probe stopped after max_iterations={max_iterations}, {fit.gap / fit.objective:.1%} or less above "
            f"the minimum; allow more, or a stronger regularization than {regularization:g}",
            RuntimeWarning,
            stacklevel=2,
        )
    weight = fit.weight / scale
    bias = fit.bias - weight @ mean
    scores = torch.addmm(fit.bias, test_features.to(features.dtype).sub(mean).div_(scale), fit.weight.T)
    return LinearProbeResult(
        accuracy(scores, test_labels, topk=(1,))[0],
        scores,
        regularization,
        weight,
        bias,
        fit.objective,
        fit.iterations,
        fit.converged,
        losses,
    )


def standardization(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation ``(D,)`` of ``features (N, D)``; the deviation of a constant feature is one."""
    # By chunks that fit into the cache, about an approximate mean: a tenth of the time of torch.std_mean, and as exact.
    near = features.mean(0)
    drift, square = torch.zeros_like(near, dtype=torch.float64), torch.zeros_like(near, dtype=torch.float64)
    for rows in features.split(CHUNK_ROWS):
        difference = rows - near
        drift += difference.sum(0)
        square += difference.square_().sum(0)
    drift, square = drift / len(features), square / len(features)
    mean, scale = (near + drift).to(features.dtype), (square - drift.square()).clamp_(min=0).sqrt_().to(features.dtype)
    return mean, scale_of(scale, mean, features.dtype)


def scale_of(deviation: Tensor, mean: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what features of these deviations and means ``(D,)``, held in ``dtype``, are divided by: one if constant."""
    rounding = 10 * torch.finfo(dtype).eps * mean.abs()  # what remains of a constant after subtracting the mean
    return torch.where(deviation > rounding, deviation, torch.ones_like(deviation))


def hold_out(labels: Tensor, fraction: float, seed: int, instead: str) -> tuple[Tensor, Tensor]:
    """Return the indices to fit and to hold out, drawn class by class; ``instead``: the argument that avoids the choice."""
    counts = torch.bincount(labels)
    kept_out = (counts * fraction).round().long().clamp(min=1)
    kept_out = torch.minimum(kept_out, counts - 1)  # the only sample of a class is fitted
    order, held_out = draw_by_class(labels, kept_out, seed)
    if not held_out.any():
        raise ValueError(
            "a held-out part needs a class with two training samples or more, got one of each class; "
            f"pass {instead}, so that there is nothing to choose"
        )
    return order[~held_out], order[held_out]


def draw_by_class(labels: Tensor, per_class: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Return all indices by class, in random order within, and which are among the first ``per_class (K,)`` of their class."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed)).to(labels.device)
    order = order[labels[order].argsort(stable=True)]
    counts = torch.bincount(labels)
    place = torch.arange(len(labels), device=labels.device) - (counts.cumsum(0) - counts)[labels[order]]
    return order, place < per_class[labels[order]]


def _select(
    features: Tensor, labels: Tensor, num_fitted: int, num_classes: int, candidates: Sequence[float]
) -> tuple[Fit, float, dict[float, float]]:
    """Return the solution, the regularisation and all losses on the rows after ``num_fitted``."""
    regression = LogisticRegression(features[:num_fitted], labels[:num_fitted], num_classes)
    fits: dict[float, Fit] = {}
    losses: dict[float, float] = {}
    fit = None
    for candidate in sorted(set(candidates), reverse=True):
        fit = fits[candidate] = regression.fit(candidate, fit, tolerance=1e-3)  # enough for a comparison
        scores = torch.addmm(fit.bias, features[num_fitted:], fit.weight.T)
        losses[candidate] = float(F.cross_entropy(scores, labels[num_fitted:]))
        best = min(losses, key=losses.__getitem__)
        if list(losses).index(best) < len(losses) - 2:  # two in a row were worse, and weaker ones take the longest
            break
    return fits[best], best, losses
