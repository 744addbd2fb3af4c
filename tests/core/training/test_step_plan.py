"""Batches and optimizer steps of a run; an impossible combination of keys names the keys."""

import itertools
import math
import random

import pytest

from ssl_core.schedules import SCHEDULES
from ssl_core.training.step_plan import StepPlan, accumulation, steps_per_epoch


def test_every_schedule_stays_between_0_and_1_and_depends_on_the_step_alone():
    steps = list(range(60)) * 2
    for name in SCHEDULES:
        schedule = StepPlan.of(num_batches=10, epochs=5, warmup_epochs=1.5).schedule(name)
        in_order = {step: schedule(step) for step in steps}
        random.Random(0).shuffle(steps)
        assert {step: schedule(step) for step in steps} == in_order
        assert all(0 <= factor <= 1 for factor in in_order.values())


def test_warmup_as_long_as_the_run_divides_by_nothing():
    plan = StepPlan.of(num_batches=4, epochs=5, warmup_epochs=5)
    assert plan.warmup_steps == plan.total_steps == 20
    schedule = plan.schedule("cosine")
    assert [schedule(0), schedule(19), schedule(20)] == pytest.approx([1 / 21, 20 / 21, 0])


@pytest.mark.parametrize(
    ("num_batches", "max_steps", "batches"),
    [(10, -1, 10), (10, -1.0, 10), (10, 1, 1), (10, 10, 10), (10, 3.0, 3), (10, 0.29, 3), (100, 0.29, 29)],
)
def test_max_steps_is_all_a_number_or_a_fraction(num_batches, max_steps, batches):
    assert steps_per_epoch(num_batches, max_steps) == (batches, batches)


def test_a_fraction_is_never_no_batch_and_never_more_than_there_are():
    for num_batches, thousandths in itertools.product(range(1, 40), range(1, 1000, 7)):
        batches, _ = steps_per_epoch(num_batches, thousandths / 1000)
        assert 1 <= batches <= num_batches
        assert abs(batches - num_batches * thousandths / 1000) <= 0.5 or batches == 1


def test_accumulation_walks_through_every_batch_once():
    for batches, size in itertools.product(range(1, 14), range(1, 14)):
        if size > batches:
            continue
        _, steps = steps_per_epoch(batches, -1, size)
        sums, groups, share = [], 0, 0.0
        for batch in range(batches):
            stepped, divisor = accumulation(batch, batches, size)
            share += 1 / divisor
            if stepped:
                sums.append(share)
                groups, share = groups + 1, 0.0
        assert groups == steps
        assert share == 0.0  # the last batch of the epoch always ends a group
        assert sums == pytest.approx([1.0] * steps)  # each group is a mean


def test_plan_counts_batches_and_steps():
    plan = StepPlan.of(num_batches=100, epochs=4, max_steps=0.25, accumulation_steps=10, warmup_epochs=0.5)
    assert plan == StepPlan(
        batches_per_epoch=25, steps_per_epoch=3, total_steps=12, warmup_steps=2, accumulation_steps=10
    )
    assert [plan.accumulation(batch) for batch in (9, 19, 20, 24)] == [(True, 10), (True, 10), (False, 5), (True, 5)]


def test_a_run_of_no_epochs_has_no_steps_whatever_its_warmup():
    assert StepPlan.of(num_batches=3, epochs=0, warmup_epochs=10) == StepPlan(3, 3, 0, 0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"warmup_epochs": 10}, r"optim\.warmup_epochs=10: expected .* at most optim\.epochs=4"),
        ({"warmup_epochs": -1}, r"optim\.warmup_epochs=-1"),
        ({"warmup_epochs": math.nan}, r"optim\.warmup_epochs=nan"),
        ({"epochs": -1}, r"optim\.epochs=-1"),
        ({"num_batches": 0}, r"no batch.*optim\.batch_size"),
        ({"max_steps": 21}, r"optim\.max_steps=21 is more than .* 20 batches"),
        ({"max_steps": 0}, r"optim\.max_steps=0: expected -1"),
        ({"max_steps": 1.0}, r"optim\.max_steps=1\.0: .*an integer"),
        ({"max_steps": 2.5}, r"optim\.max_steps=2\.5"),
        ({"max_steps": -0.5}, r"optim\.max_steps=-0\.5"),
        ({"max_steps": math.nan}, r"optim\.max_steps=nan"),
        ({"max_steps": math.inf}, r"optim\.max_steps=inf"),
        ({"accumulation_steps": 0}, r"optim\.accumulation_steps=0"),
        ({"accumulation_steps": 21}, r"optim\.accumulation_steps=21 is more than an epoch has: 20 batches"),
        ({"accumulation_steps": 8, "max_steps": 5}, r"optim\.accumulation_steps=8 .* 5 batches .*optim\.max_steps=5"),
    ],
)
def test_impossible_combination_is_refused_by_name(changed, message):
    with pytest.raises(ValueError, match=message):
        StepPlan.of(**{"num_batches": 20, "epochs": 4, **changed})


def test_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match=r"optim\.schedule='linear': expected one of 'constant', 'cosine'"):
        StepPlan.of(num_batches=2, epochs=1).schedule("linear")
