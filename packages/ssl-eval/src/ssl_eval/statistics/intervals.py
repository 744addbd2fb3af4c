"""Confidence intervals, and a paired test of two classifiers."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_eval.optional import optional_import
from ssl_eval.validation import check_tensor, check_values

CHUNK_ELEMENTS = 2**22  # resampled at a time: 32 MiB


@dataclass
class PairedTest:
    """Result of :func:`paired_test`.

    Attributes
    ----------
    difference : float
        Accuracy of the second minus that of the first, in -1..1.
    interval : tuple of float
        95 % bootstrap interval of the difference, over test samples.
    p_value : float
        p-value of McNemar's exact test: the probability of a difference at least this large if both are equally accurate.
    only_first, only_second : int
        Number of samples that only one of them classifies correctly.
    """

    difference: float
    interval: tuple[float, float]
    p_value: float
    only_first: int
    only_second: int


@torch.no_grad()
def bootstrap_interval(
    values: Tensor, confidence: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of ``values``.

    Hand-written, 8 lines: it runs with torch only, on the device of the values, by chunks; ``scipy.stats.bootstrap`` does not.

    Parameters
    ----------
    values : Tensor
        ``(M,)``, one per test sample, e.g. ``scores.argmax(1) == labels``.
    confidence : float
        Share of the resampled means inside the interval, in (0, 1).
    draws : int
        Number of resamplings.
    seed : int
        Random seed of the resampling.

    Returns
    -------
    tuple of float
        ``(low, high)``. It covers the choice of the test samples, not the seed of the training.

    Raises
    ------
    ValueError
        If ``values`` is not ``(M,)``, M at least 1, and finite, or an option is out of range.

    References
    ----------
    Efron & Tibshirani: An Introduction to the Bootstrap, 1993, section 13.3.

    Examples
    --------
    >>> low, high = bootstrap_interval(torch.arange(100) < 90)
    >>> 0.82 <= low <= 0.86 and 0.94 <= high <= 0.97
    True
    """
    check_tensor("values", values)
    check_values("values", values.double() if values.dtype == torch.bool else values, least=1)
    if not 0 < confidence < 1 or draws < 1:
        raise ValueError(f"confidence={confidence}, draws={draws}: expected within (0, 1), and 1 or more")
    values = values.double()
    generator = torch.Generator().manual_seed(seed)
    means = []
    for first in range(0, draws, step := max(1, CHUNK_ELEMENTS // len(values))):
        chosen = torch.randint(len(values), (min(step, draws - first), len(values)), generator=generator)
        means.append(values[chosen.to(values.device)].mean(1))
    tail = torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2], dtype=torch.float64, device=values.device)
    low, high = torch.cat(means).quantile(tail).tolist()
    return low, high


@torch.no_grad()
def paired_test(first_hits: Tensor, second_hits: Tensor, seed: int = 0) -> PairedTest:
    """Compare two classifiers on the same test samples.

    Parameters
    ----------
    first_hits, second_hits : Tensor
        ``(M,) bool``: the samples that each classifies correctly, in the same order.
    seed : int
        Random seed of the bootstrap.

    Returns
    -------
    PairedTest
        With ``.difference``, ``.interval`` and ``.p_value``.

    Raises
    ------
    ValueError
        If the two are not boolean or differ in length.
    ImportError
        Without scipy.

    References
    ----------
    McNemar: Note on the sampling error of the difference between correlated proportions, 1947; exact, by the binomial
    distribution.

    Examples
    --------
    >>> round(paired_test(torch.tensor([True] * 8 + [False] * 8), torch.tensor([True] * 16)).p_value, 5)
    0.00781
    """
    for name, hits in (("first_hits", first_hits), ("second_hits", second_hits)):
        check_tensor(name, hits)
        if hits.dtype != torch.bool or hits.ndim != 1 or len(hits) == 0:
            raise ValueError(
                f"{name} must be (M,) bool, got {hits.dtype} {tuple(hits.shape)}; try scores.argmax(1) == labels"
            )
    if len(first_hits) != len(second_hits):
        raise ValueError(f"both must be of the same samples, got {len(first_hits)} and {len(second_hits)}")
    with optional_import("McNemar's test"):
        from scipy import stats
    only_first = int((first_hits & ~second_hits).sum())
    only_second = int((second_hits & ~first_hits).sum())
    gain = second_hits.double() - first_hits.double()
    p_value = float(stats.binomtest(only_first, n).pvalue) if (n := only_first + only_second) else 1.0
    return PairedTest(float(gain.mean()), bootstrap_interval(gain, seed=seed), p_value, only_first, only_second)


def mean_interval(values: Tensor, confidence: float = 0.95) -> tuple[float, float]:
    """Return Student's confidence interval of the mean of a few repetitions ``(n,)``; infinite for a single one. Needs scipy.

    Examples
    --------
    >>> low, high = mean_interval(torch.tensor([0.90, 0.92, 0.94]))
    >>> round(low, 3), round(high, 3)
    (0.87, 0.97)
    """
    check_values("values", values, least=1)
    if len(values) < 2:
        return -math.inf, math.inf
    with optional_import("Student's interval"):
        from scipy import stats
    values = values.double()
    error = float(values.std()) / math.sqrt(len(values))
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * error
    return float(values.mean()) - half, float(values.mean()) + half
