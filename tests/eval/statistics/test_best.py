"""Which row is bold: only one whose difference to every other row holds."""

import pytest
import torch

from ssl_eval.statistics.best import Contestant, best_row


def row(*values, hits=None):
    return Contestant(values, hits)


@pytest.mark.parametrize(
    ("rows", "best"),
    [
        ([row(0.90, 0.91, 0.92), row(0.95, 0.96, 0.97)], 1),
        ([row(0.95, 0.96, 0.97), None, row(0.90, 0.91, 0.92), row()], 0),
        ([row(0.90, 0.95, 0.92), row(0.93, 0.91, 0.97)], None),  # Welch: p = 0.55
        (
            [row(0.95, 0.96, 0.97), row(0.90, 0.91, 0.92), row(0.94, 0.95, 0.98)],
            None,
        ),  # better than one of two is not best
        ([row(0.95, 0.96, 0.97)], None),
        ([row(0.90), row(0.97)], None),  # single runs, and nothing to pair
        ([row(0.90), row(0.95, 0.96, 0.97)], None),
        ([row(0.90, 0.90), row(0.95, 0.95)], None),  # no deviation known of either
    ],
)
def test_best_is_named_only_if_the_difference_is_significant(rows, best):
    assert best_row(rows) == best


def test_single_runs_are_paired_over_the_same_samples():
    good, bad = torch.ones(100, dtype=torch.bool), torch.arange(100) >= 10
    assert best_row([row(0.9, hits=bad), row(1.0, hits=good)]) == 1
    assert best_row([row(0.9, hits=bad), row(1.0, hits=good[:50])]) is None  # of other samples
    assert best_row([row(0.9, hits=bad), row(1.0, hits=good), row(0.8)]) is None  # of one row nothing is known
