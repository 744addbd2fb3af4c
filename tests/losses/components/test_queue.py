"""The queue: first in first out, whatever the batch; it grows, it is saved, and autograd keeps what it had."""

import copy
import io

import pytest
import torch

from ssl_losses import InfoNCELoss, NNCLRLoss, ReSSLLoss
from ssl_losses.components.queue import Queue


def numbered(first, last):
    return torch.arange(first, last, dtype=torch.float32).unsqueeze(1)


@pytest.mark.parametrize("batch", [1, 3, 4, 5, 8, 11])
def test_last_rows_stay_for_any_batch_size(batch):
    """Oracle: a slice of all rows so far. Batches that divide the queue, that do not, and that are larger."""
    queue = Queue(8)
    for step in range(6):
        queue.update(numbered(step * batch, (step + 1) * batch))
        torch.testing.assert_close(queue.rows, numbered(0, (step + 1) * batch)[-8:])


def test_it_holds_no_made_up_rows():
    queue = Queue(8)
    assert queue.contents(torch.ones(2, 3)).shape == (0, 3)
    queue.update(torch.ones(2, 3))
    assert queue.contents(torch.ones(2, 3)).shape == (2, 3)


def test_it_keeps_copies_without_gradient():
    z = torch.ones(2, 3, requires_grad=True)
    queue = Queue(2)
    queue.update(z)
    with torch.no_grad():
        z.zero_()
    assert not queue.rows.requires_grad
    assert queue.rows.eq(1).all()


def test_update_leaves_alone_what_a_backward_pass_still_needs():
    """Were the rows overwritten in place, autograd would refuse the backward pass."""
    queue = Queue(2)
    queue.update(torch.ones(2, 3))
    z = torch.ones(2, 3, requires_grad=True)
    loss = (z * queue.contents(z)).sum()
    queue.update(torch.zeros(2, 3))
    loss.backward()
    assert z.grad.eq(1).all()


def test_half_precision_rows_are_kept_in_float32():
    queue = Queue(4)
    queue.update(torch.ones(2, 3, dtype=torch.bfloat16))
    assert queue.rows.dtype == torch.float32


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_saved_queue_continues_empty_growing_or_full(steps):
    queue, fresh = Queue(7), Queue(7)
    for step in range(steps):
        queue.update(numbered(3 * step, 3 * step + 3).double())
    file = io.BytesIO()
    torch.save(queue.state_dict(), file)
    file.seek(0)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    for each in (queue, fresh):
        each.update(numbered(100, 103).double())
    assert fresh.rows.dtype == torch.float64
    assert torch.equal(fresh.rows, queue.rows)


def test_file_holds_the_rows_and_nothing_more():
    """A slice of a larger tensor would be saved with all of it."""
    queue = Queue(100)
    for step in range(3):
        queue.update(numbered(80 * step, 80 * step + 80))
    assert queue.rows.untyped_storage().nbytes() == 100 * 4


def test_saved_queue_replaces_a_longer_one():
    queue, used = Queue(7), Queue(7)
    queue.update(numbered(0, 2))
    used.update(numbered(0, 7))
    used.load_state_dict(queue.state_dict())
    assert torch.equal(used.rows, queue.rows)


def test_saved_queue_that_is_longer_raises_with_both_sizes():
    queue = Queue(7)
    queue.update(numbered(0, 7))
    with pytest.raises(RuntimeError, match=r"\[7, 1\].*\[4, 1\]"):
        Queue(4).load_state_dict(queue.state_dict())


def test_copy_has_separate_rows():
    queue = Queue(4)
    queue.update(numbered(0, 2))
    other = copy.deepcopy(queue)
    other.update(numbered(2, 4))
    assert len(queue.rows) == 2


def test_bad_sizes_and_rows_raise():
    with pytest.raises(ValueError, match="queue_size must be at least 1, got 0"):
        Queue(0)
    queue = Queue(4)
    queue.update(torch.ones(2, 3))
    with pytest.raises(ValueError, match="holds rows of D=3, got D=2; start a new queue"):
        queue.update(torch.ones(2, 2))


@pytest.mark.parametrize("make", [InfoNCELoss, NNCLRLoss, ReSSLLoss])
def test_update_is_checked_like_forward(make):
    loss = make(queue_size=4)
    with pytest.raises(ValueError, match=r"must be \(N, D\), got shape \(3,\)"):
        loss.update(torch.ones(3))
    with pytest.raises(ValueError, match=r"floating point, got torch\.int64"):
        loss.update(torch.ones(3, 2, dtype=torch.int64))
    loss.update(torch.ones(3, 2))
    with pytest.raises(ValueError, match="D=2, got D=5"):
        loss.update(torch.ones(3, 5))
