import random

import numpy
import pytest
import torch

from ssl_core.training.seeding import seed_step


def draw():
    return torch.rand(3).tolist(), random.random(), numpy.random.rand()  # noqa: NPY002 - the generator that a user's code may still use


def test_a_step_draws_the_same_wherever_the_run_was_resumed():
    seed_step(0, epoch=3, batch=5, rank=0)
    first = draw()
    draw()
    seed_step(0, epoch=3, batch=5, rank=0)
    assert draw() == first


def test_steps_epochs_seeds_and_ranks_draw_differently():
    places = [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0, 11, 1, 0), (0, 1, 11, 0)]
    drawn = []
    for place in places:
        seed_step(*place)
        drawn.append(draw())
    assert len(set(map(str, drawn))) == len(places)


@pytest.mark.parametrize("used", [False, True])
def test_step_seeds_gpus_that_are_in_use(monkeypatch, used):
    """Oracle: ``torch.manual_seed``, which a step does not call because it is slow."""
    seeds = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: used)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    seed_step(0, epoch=3, batch=5, rank=0)
    ours = torch.rand(3)
    assert seeds == ([torch.initial_seed()] if used else [])
    torch.manual_seed(torch.initial_seed())
    assert torch.equal(torch.rand(3), ours)
