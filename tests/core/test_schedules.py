"""Schedules are pure functions of the step. Oracles: their formulas, and torch's own cosine."""

import itertools
import math

import pytest

from ssl_core.schedules import constant, cosine_ramp, warmup_cosine


@pytest.mark.parametrize("warmup", [1, 2, 10, 99])
def test_warmup_is_a_line_that_meets_the_cosine_where_it_starts(warmup):
    factors = [warmup_cosine(step, 100, warmup) for step in range(100)]
    assert factors[0] == pytest.approx(1 / (warmup + 1))
    rises = [after - before for before, after in itertools.pairwise(factors[: warmup + 1])]
    assert rises == pytest.approx([1 / (warmup + 1)] * warmup)  # the last of these crosses from the line to the cosine
    assert factors[warmup] == 1.0 == max(factors)


def test_cosine_equals_its_formula_and_torchs_own():
    import torch

    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.1)
    for step in range(50):
        ours = warmup_cosine(step, 50, final_factor=0.1)
        assert ours == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi * step / 50)) / 2)
        assert ours == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("final", [0.0, 0.01])
def test_schedule_ends_at_the_final_factor(final):
    assert final < warmup_cosine(999, 1000, 100, final) < final + 1e-5
    assert warmup_cosine(1000, 1000, 100, final) == warmup_cosine(10**9, 1000, 100, final) == final


def test_constant_stays_after_the_warmup():
    assert [constant(step, 4, 2) for step in range(6)] == pytest.approx([1 / 3, 2 / 3, 1, 1, 1, 1])
    assert constant(0, 4) == 1.0


def test_cosine_ramp_is_byols_momentum():
    for step in range(101):
        byol = 1 - (1 - 0.996) * (math.cos(math.pi * step / 100) + 1) / 2
        assert cosine_ramp(step, 100, 0.996, 1.0) == pytest.approx(byol, abs=1e-15)
    assert cosine_ramp(0, 0, 0.5, 1.0) == 1.0  # a run of no steps is at its end
