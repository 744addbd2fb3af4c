"""The value of a metric as a cell of a :class:`ssl_eval.Table`, the same in every table."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ssl_eval.metrics.registry import metric_of
from ssl_eval.report.table import mean_and_std

Cell = float | str | dict[str, float] | None


def metric_cell(name: str, values: Sequence[float | Mapping[str, Any]]) -> Cell:
    """Return a metric of one run or several: in percent if the registry says so, else with four digits.

    Parameters
    ----------
    name : str
        As the evaluation writes it, with or without a data set before it.
    values : sequence of float or mapping
        One a run, as an evaluation stores it: a number, or mean, std and n over draws. Of several the cell holds mean and
        sample deviation (of the means), of a single one those that it stores.

    Returns
    -------
    float, str, dict or None
        Fractions stay numbers, so that they can be sorted and computed with. Text: a number that is not a fraction, or a
        fraction below 0, as an adjusted Rand index may be. None without values.

    Examples
    --------
    >>> metric_cell("digits/knn", [0.5]), metric_cell("cluster_ari", [-0.0123]), metric_cell("rankme", [12.3456])
    (0.5, '-1.2', '12.35')
    >>> metric_cell("linear_1_percent", [{"mean": 0.5, "std": 0.1, "n": 5, "interval": [0.4, 0.6]}])
    {'mean': 0.5, 'std': 0.1, 'n': 5}
    """
    if not values:
        return None
    means = [value["mean"] if isinstance(value, Mapping) else value for value in values]
    mean, std, n = means[0], math.nan, 1
    if len(means) > 1:
        (mean, std), n = mean_and_std(means), len(means)
    elif isinstance(values[0], Mapping) and isinstance(values[0].get("std"), float):
        std, n = values[0]["std"], values[0].get("n", 1)
    in_percent = metric_of(name).percent
    if in_percent and all(0 <= value <= 1 for value in means):
        return {"mean": mean, "std": std, "n": n} if n > 1 else mean
    if in_percent and all(-1 <= value <= 1 for value in means):
        shown, spread = f"{100 * mean:.1f}", f"{100 * std:.1f}"
    else:
        shown, spread = f"{mean:.4g}", f"{std:.2g}"
    return f"{shown} ± {spread}" if n > 1 else shown
