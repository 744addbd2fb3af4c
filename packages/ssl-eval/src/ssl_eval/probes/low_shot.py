"""The linear probe from a few labels, over repeated draws."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_eval.features import Features, split_of
from ssl_eval.probes.linear import draw_by_class, linear_probe, standardization
from ssl_eval.results import Result
from ssl_eval.statistics.intervals import mean_interval
from ssl_eval.validation import check_even, check_split, computed_in

SINGLE_LABEL_REGULARIZATION = 0.01  # with one label a class nothing can be held out to choose by


@dataclass(frozen=True, eq=False, repr=False)
class FewShotResult(Result):
    """Result of :func:`few_shot`.

    Attributes
    ----------
    mean : float
        Mean of the accuracies, a fraction in 0..1.
    std : float
        Their sample deviation (divided by draws - 1); NaN for a single draw.
    accuracies : tuple of float
        Top-1 on the test set, one a draw.
    """

    mean: float
    std: float
    accuracies: tuple[float, ...]

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean over draws (Student); infinite for a single draw. Needs scipy."""
        return mean_interval(torch.tensor(self.accuracies, dtype=torch.float64))


@torch.no_grad()
def few_shot(
    train_features: Tensor | Features,
    train_labels: Tensor | None = None,
    test_features: Tensor | None = None,
    test_labels: Tensor | None = None,
    labels_per_class: int | float = 10,
    draws: int = 5,
    seed: int = 0,
    regularization: float | None = None,
) -> FewShotResult:
    """Return the accuracy of :func:`ssl_eval.linear_probe` trained on a few samples per class, over repeated draws.

    Features are standardised with all training features, with and without labels. The draws differ in the training samples;
    each is tested on the whole test set, so that ``std`` does not cover the choice of the test set.

    Parameters
    ----------
    train_features, test_features : Tensor
        ``(N, D)`` and ``(M, D)``, on one device; or all four arguments as one :class:`ssl_eval.Features`.
    train_labels, test_labels : Tensor
        ``(N,)`` and ``(M,)`` integer; every class 0..K-1 has ``labels_per_class`` training samples.
    labels_per_class : int or float
        Samples of each class, drawn without replacement: a number, or a fraction below 1 of those it has (0.01 and 0.1 are
        the field's 1 % and 10 %; rounded, but at least one).
    draws : int
        Number of repetitions.
    seed : int
        Random seed. Draw i is a function of (seed, i) alone.
    regularization : float, optional
        As in :func:`ssl_eval.linear_probe`; by default chosen in each draw on a fifth of its labels, and 0.01 with one
        label a class.

    Returns
    -------
    FewShotResult
        With ``.mean``, ``.std``, ``.interval`` and ``.accuracies``.

    Raises
    ------
    ValueError
        If a class has too few samples, or as :func:`ssl_eval.linear_probe` does.

    Examples
    --------
    >>> import torch
    >>> labels = torch.arange(3).repeat(20)
    >>> features = torch.nn.functional.one_hot(labels, 3) + 0.1 * torch.rand(60, 3)
    >>> few_shot(features, labels, features, labels, labels_per_class=2).mean
    1.0
    """
    train_features, train_labels, test_features, test_labels = split_of(
        train_features, train_labels, test_features, test_labels
    )
    check_split(train_features, train_labels, test_features, test_labels)
    train_labels = train_labels.to(train_features.device).long()  # uint8 as an index would be a mask
    counts = torch.bincount(train_labels)
    per_class = _per_class(labels_per_class, counts)
    if draws < 1:
        raise ValueError(f"draws={draws}: expected 1 or more")
    if regularization is None and int(per_class.max()) == 1:
        regularization = SINGLE_LABEL_REGULARIZATION

    check_even("train_features", train_features)
    dtype = computed_in(train_features, test_features)
    mean, scale = standardization(train_features.to(dtype))
    test = test_features.to(dtype).sub(mean).div_(scale)
    accuracies = []
    for draw in range(draws):
        order, drawn = draw_by_class(train_labels, per_class, seed * 1_000_003 + draw)
        chosen = order[drawn]
        train = (train_features[chosen].to(dtype) - mean) / scale
        result = linear_probe(
            train, train_labels[chosen], test, test_labels, regularization, seed=seed, standardize=False
        )
        accuracies.append(result.accuracy)
    values = torch.tensor(accuracies, dtype=torch.float64)
    std = float(values.std()) if draws > 1 else float("nan")
    return FewShotResult(float(values.mean()), std, tuple(accuracies))


def _per_class(labels_per_class: int | float, counts: Tensor) -> Tensor:
    """Return how many samples to draw of each class ``(K,) int64``."""
    if 0 < labels_per_class < 1:
        return (counts * labels_per_class).round().long().clamp(min=1)
    if labels_per_class < 1 or labels_per_class != int(labels_per_class):
        raise ValueError(f"labels_per_class={labels_per_class}: expected a whole number, or a fraction below 1")
    if int(counts.min()) < labels_per_class:
        raise ValueError(
            f"labels_per_class={labels_per_class}: class {int(counts.argmin())} has only {int(counts.min())} training "
            "samples; ask for fewer labels, or give more samples"
        )
    return torch.full_like(counts, int(labels_per_class))
