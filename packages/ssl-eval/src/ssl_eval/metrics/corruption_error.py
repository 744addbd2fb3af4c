"""Errors on corrupted images: mean corruption error (mCE) and relative mCE of Hendrycks & Dietterich 2019."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from ssl_eval.results import Result

Errors = Mapping[str, Sequence[float]]  # corruption -> error at each severity


@dataclass(frozen=True, eq=False, repr=False)
class CorruptionErrorResult(Result):
    """Result of :func:`corruption_error`; all are fractions, 1 is the error of the reference for the last three.

    Attributes
    ----------
    mean_error : float
        Mean over corruptions of the mean over severities, without a reference.
    mean_errors : dict
        Corruption -> mean over severities.
    corruption_errors : dict
        Corruption -> error over that of the reference (CE); empty without a reference.
    mce, relative_mce : float or None
        None without a reference; ``relative_mce`` also where the reference is as good on a corruption as on clean images.
    """

    mean_error: float
    mean_errors: dict[str, float]
    corruption_errors: dict[str, float]
    mce: float | None = None
    relative_mce: float | None = None


def corruption_error(
    errors: Errors, clean_error: float = 0.0, reference: Errors | None = None, reference_clean_error: float = 0.0
) -> CorruptionErrorResult:
    r"""Return the mean corruption error of a classifier f, absolute and relative to a reference r.

    .. math::
        \mathrm{CE}_c = \frac{\sum_s E^f_{s,c}}{\sum_s E^r_{s,c}}, \qquad
        \mathrm{relative\ CE}_c = \frac{\sum_s E^f_{s,c} - E^f_\mathrm{clean}}{\sum_s E^r_{s,c} - E^r_\mathrm{clean}}

    mCE and relative mCE are the means over the corruptions c; s is the severity.

    Parameters
    ----------
    errors : mapping
        Corruption -> top-1 error, a fraction in 0..1, at each severity.
    clean_error : float
        Error on the images without corruption, for the relative mCE.
    reference : mapping, optional
        Errors of the reference, at least of the same corruptions at the same severities. The paper's is AlexNet.
    reference_clean_error : float
        Error of the reference on the images without corruption.

    Returns
    -------
    CorruptionErrorResult

    Raises
    ------
    ValueError
        Without a corruption or a severity, for a reference that lacks a corruption or has other severities, or one without
        any error on a corruption, by which nothing can be divided.

    References
    ----------
    Hendrycks & Dietterich: Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, ICLR 2019,
    https://arxiv.org/abs/1903.12261, section 4.

    Examples
    --------
    >>> found = corruption_error({"fog": [0.2, 0.4], "snow": [0.3, 0.5]}, 0.1, {"fog": [0.4, 0.8], "snow": [0.4, 0.6]}, 0.2)
    >>> f"{found.mean_error:.2f} {found.mce:.2f} {found.relative_mce:.2f}"
    '0.35 0.65 0.75'
    """
    if not errors or not all(len(each) for each in errors.values()):
        raise ValueError("errors: expected at least one corruption with an error at each severity")
    means = {name: fmean(each) for name, each in errors.items()}
    mean = fmean(means.values())
    if reference is None:
        return CorruptionErrorResult(mean, means, {})
    for name, each in errors.items():
        if len(reference.get(name, ())) != len(each):
            raise ValueError(
                f"reference: expected {len(each)} errors on {name!r}, one for each severity, got {len(reference.get(name, ()))}"
            )
    totals = {name: sum(reference[name]) for name in errors}
    for name, total in totals.items():
        if not total > 0:
            raise ValueError(f"reference: it makes no error on {name!r}, and errors are divided by it")
    ratios = {name: sum(each) / totals[name] for name, each in errors.items()}
    drops = {name: totals[name] - len(each) * reference_clean_error for name, each in errors.items()}
    relative = None
    if all(drop > 0 for drop in drops.values()):
        relative = fmean((sum(each) - len(each) * clean_error) / drops[name] for name, each in errors.items())
    return CorruptionErrorResult(mean, means, ratios, fmean(ratios.values()), relative)
