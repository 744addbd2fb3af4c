"""Selection of the best row of a table, if it differs significantly from every other row."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_eval.statistics.intervals import paired_test
from ssl_eval.statistics.significance import welch_test

LEVEL = 0.05
RULE = (
    f"Bold: the highest mean, if it differs from every other row with p < {LEVEL}, by Welch's test over runs if both rows have "
    "at least two, by McNemar's exact test over test samples if both have one (which does not cover other seeds)."
)


@dataclass
class Contestant:
    """A row in one column.

    Attributes
    ----------
    values : sequence of float
        One a run.
    hits : Tensor, optional
        ``(M,) bool``, of a single run: which test samples it got right.
    """

    values: Sequence[float]
    hits: Tensor | None = None


def best_row(rows: Sequence[Contestant | None]) -> int | None:
    """Return the index of the row with the highest mean if it differs significantly from every other row; else None.

    Rows that are None, or have no value or one outside 0..1, are ignored; a single row is not marked. All tests have to be
    significant, so that their level needs no correction for their number.

    Examples
    --------
    >>> best_row([Contestant([0.90, 0.91, 0.92]), Contestant([0.95, 0.96, 0.97]), None])
    1
    >>> best_row([Contestant([0.90, 0.94, 0.92]), Contestant([0.91, 0.95, 0.97])]) is None
    True
    """
    compared = {
        number: row
        for number, row in enumerate(rows)
        if row is not None and row.values and all(0 <= value <= 1 for value in row.values)
    }
    if len(compared) < 2:
        return None
    top = max(compared, key=lambda number: statistics.fmean(compared[number].values))
    others = [row for number, row in compared.items() if number != top]
    return top if all(differs(compared[top], other) for other in others) else None


def differs(first: Contestant, second: Contestant) -> bool:
    """Return whether a difference is significant; False if the deviation over runs or test samples is unknown."""
    if min(len(first.values), len(second.values)) >= 2:
        values = [torch.tensor(row.values, dtype=torch.float64) for row in (first, second)]
        if all(bool((v == v[0]).all()) for v in values):
            return False
        return welch_test(*values).p_value < LEVEL
    if len(first.values) != 1 or len(second.values) != 1 or first.hits is None or second.hits is None:
        return False
    if len(first.hits) != len(second.hits):
        return False
    return paired_test(first.hits, second.hits).p_value < LEVEL
