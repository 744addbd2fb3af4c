"""Gradient accumulation: micro-batches leave the state that one large batch leaves, in float64.

Oracle: the same loss on the large batch (its state is itself checked against plain rules in ``test_contract``).
"""

import pytest
import torch
from contract import SAMPLES, leaf_arguments, load, module, state_of

from ssl_losses import LOSSES, AccumulatedState, DINOLoss, accumulate_updates
from ssl_losses.components.queue import Queue

STATEFUL = [name for name in LOSSES if load(name).next_state]
MICRO_BATCHES = 3


def parts():
    size = SAMPLES // MICRO_BATCHES
    return [slice(start, start + size) for start in range(0, SAMPLES, size)]


def arguments(name, part, batch):
    return leaf_arguments(name, part, batch=batch)[0]


@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize("name", STATEFUL)
def test_micro_batches_move_the_state_as_one_large_batch(name, calls):
    """In two optimizer steps, each with one or two calls of the loss per batch."""
    large, small = module(name), module(name)
    for step in range(2):
        for call in range(calls):
            large(*arguments(name, slice(0, SAMPLES), 10 * step + call))
        before = state_of(small)
        for part in parts():
            with accumulate_updates(small, last=part == parts()[-1]):
                for call in range(calls):
                    small(*arguments(name, part, 10 * step + call)).backward()
                if any(isinstance(each, AccumulatedState) for each in small.modules()):
                    assert all(torch.equal(before[key], value) for key, value in small.state_dict().items())
        torch.testing.assert_close(state_of(small), state_of(large), rtol=1e-12, atol=1e-14)


def test_losses_with_state_are_accumulated():
    """All but DeepCluster v2, whose memory has a row of its own for each sample."""
    kept = [name for name in STATEFUL if any(isinstance(each, AccumulatedState) for each in module(name).modules())]
    assert kept == [name for name in STATEFUL if name != "deepcluster_v2"]


def test_queue_keeps_the_last_rows_of_all_micro_batches():
    queue = Queue(3)
    for k in range(4):
        with accumulate_updates(queue, last=k == 3):
            queue.update(torch.tensor([[2.0 * k], [2.0 * k + 1]]))
    assert queue.rows.flatten().tolist() == [5.0, 6.0, 7.0]


def test_failed_micro_batch_leaves_no_updates_behind():
    loss = DINOLoss(num_prototypes=2)
    views = torch.ones(2, 3, 2)

    def fail():
        with accumulate_updates(loss, last=False):
            loss(views, views)
            raise ValueError("not this one")

    with pytest.raises(ValueError, match="not this one"):
        fail()
    with accumulate_updates(loss, last=True):
        pass
    assert not loss.center.any()
    loss(views, views)  # outside of it, at once
    assert loss.center.all()
