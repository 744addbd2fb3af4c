"""The value of a metric as a cell of a :class:`ssl_eval.Table`, the same in every table."""

import math
from collections.abc import Sequence

from ssl_eval.metrics.registry import is_percentage
from ssl_eval.report.table import mean_and_std

Cell = float | str | dict[str, float] | None


def metric_cell(name: str, values: Sequence[float]) -> Cell:
    """Return a metric of one run or several: in percent if it is a fraction, else with four digits.

    Parameters
    ----------
    name : str
        As the evaluation writes it, with or without a data set before it.
    values : sequence of float
        One a run. Of several the cell holds mean and sample deviation.

    Returns
    -------
    float, str, dict or None
        Fractions stay numbers, so that they can be sorted and computed with. Text: a number that is not a fraction, or a
        fraction below 0, as an adjusted Rand index may be. None without values.

    Examples
    --------
    >>> metric_cell("digits/knn", [0.5]), metric_cell("cluster_ari", [-0.0123]), metric_cell("rankme", [12.3456])
    (0.5, '-1.2', '12.35')
    """
    if not values:
        return None
    mean, std = mean_and_std(values) if len(values) > 1 else (values[0], math.nan)
    percentage = is_percentage(name)
    if percentage and all(0 <= value <= 1 for value in values):
        return {"mean": mean, "std": std, "n": len(values)} if len(values) > 1 else mean
    if percentage and all(-1 <= value <= 1 for value in values):
        shown, spread = f"{100 * mean:.1f}", f"{100 * std:.1f}"
    else:
        shown, spread = f"{mean:.4g}", f"{std:.2g}"
    return f"{shown} ± {spread}" if len(values) > 1 else shown
