"""Batches and optimizer steps of a run; an impossible combination of keys names the key."""

import itertools
import math
import random

import pytest

from ssl_core import ConfigError, OptimConfig
from ssl_core.schedules import SCHEDULES
from ssl_core.training.step_plan import StepPlan


def plan_of(num_batches, **optim):
    return StepPlan.of(num_batches, OptimConfig(**{"epochs": 4, **optim}))


def test_schedules_are_pure_functions_within_0_and_1():
    steps = list(range(60)) * 2
    for name in SCHEDULES:
        schedule = plan_of(10, epochs=5, warmup_epochs=1.5).schedule(name)
        in_order = {step: schedule(step) for step in steps}
        random.Random(0).shuffle(steps)
        assert {step: schedule(step) for step in steps} == in_order
        assert all(0 <= factor <= 1 for factor in in_order.values())


def test_warmup_as_long_as_the_run_divides_by_nothing():
    plan = plan_of(4, epochs=5, warmup_epochs=5)
    assert plan.warmup_steps == plan.total_steps == 20
    schedule = plan.schedule("cosine")
    assert [schedule(0), schedule(19), schedule(20)] == pytest.approx([1 / 21, 20 / 21, 0])


@pytest.mark.parametrize(
    ("num_batches", "max_steps", "batches"),
    [(10, -1, 10), (10, -1.0, 10), (10, 1, 1), (10, 10, 10), (10, 3.0, 3), (10, 0.29, 3), (100, 0.29, 29)],
)
def test_max_steps_is_all_a_number_or_a_fraction(num_batches, max_steps, batches):
    plan = plan_of(num_batches, max_steps=max_steps)
    assert (plan.batches_per_epoch, plan.steps_per_epoch) == (batches, batches)


def test_fraction_is_at_least_one_batch_and_at_most_all():
    for num_batches, thousandths in itertools.product(range(1, 40), range(1, 1000, 7)):
        batches = plan_of(num_batches, max_steps=thousandths / 1000).batches_per_epoch
        assert 1 <= batches <= num_batches
        assert abs(batches - num_batches * thousandths / 1000) <= 0.5 or batches == 1


def test_accumulation_uses_every_batch_once():
    for batches, size in itertools.combinations_with_replacement(range(1, 14), 2):
        plan = plan_of(size, accumulation_steps=batches)
        sums, share = [], 0.0
        for batch in range(size):
            stepped, divisor = plan.accumulation(batch)
            share += 1 / divisor
            if stepped:
                sums.append(share)
                share = 0.0
        assert share == 0.0  # the last batch of the epoch always ends a group
        assert sums == pytest.approx([1.0] * plan.steps_per_epoch)  # each group is a mean


def test_plan_counts_batches_and_steps():
    plan = plan_of(100, max_steps=0.25, accumulation_steps=10, warmup_epochs=0.5)
    assert plan == StepPlan(
        batches_per_epoch=25, steps_per_epoch=3, total_steps=12, warmup_steps=2, accumulation_steps=10
    )


def test_run_without_epochs_has_no_steps():
    assert plan_of(3, epochs=0, warmup_epochs=10) == StepPlan(3, 3, 0, 0)


@pytest.mark.parametrize(
    ("num_batches", "optim", "key"),
    [
        (0, {}, ""),
        (20, {"max_steps": 21}, "optim.max_steps"),
        (20, {"accumulation_steps": 21}, "optim.accumulation_steps"),
        (20, {"accumulation_steps": 8, "max_steps": 5}, "optim.accumulation_steps"),
    ],
)
def test_more_batches_than_an_epoch_has_raise(num_batches, optim, key):
    with pytest.raises(ConfigError) as caught:
        plan_of(num_batches, **optim)
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("warmup_epochs", 10), ("warmup_epochs", -1.0), ("warmup_epochs", math.nan), ("epochs", -1), ("max_steps", 0),
        ("max_steps", 1.0), ("max_steps", 2.5), ("max_steps", -0.5), ("max_steps", math.nan), ("max_steps", math.inf),
        ("accumulation_steps", 0),
    ],
)  # fmt: skip
def test_invalid_value_raises(make_config, key, value):
    """``max_steps=1.0`` could mean one batch or all."""
    with pytest.raises(ConfigError) as caught:
        make_config(**{f"optim__{key}": value}).check()
    assert caught.value.key == f"optim.{key}"
