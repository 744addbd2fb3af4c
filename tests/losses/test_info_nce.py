"""InfoNCE with a queue beyond the contract."""

import math

import pytest
import torch
from views import pair

from ssl_losses import InfoNCELoss, info_nce


def filled(**options):
    """Return a loss whose queue holds 40 rows of float64."""
    loss = InfoNCELoss(**{"queue_size": 40, **options})
    loss.update(torch.randn(40, 5, generator=torch.Generator().manual_seed(9), dtype=torch.float64))
    return loss


def test_lightly_agrees_step_after_step():
    """Oracle: lightly 1.6, NTXentLoss with a memory bank, in float32, given the same rows to start with.

    Deviations of lightly: its bank starts with random rows; a batch that does not divide the bank is cut off at its end
    (here it divides); it asks the queries whether they have a gradient, where we ask the module whether it trains.
    """
    from lightly.loss import NTXentLoss

    ours, theirs = filled(temperature=0.2, queue_size=32).float(), NTXentLoss(0.2, memory_bank_size=(32, 5))
    theirs.memory_bank.bank.copy_(ours.queue.rows)
    for step in range(5):
        query, key = (z.float() * (step + 1) + step for z in pair())
        query.requires_grad_()
        torch.testing.assert_close(ours(query, key), theirs(query, key), rtol=1e-5, atol=1e-6)
    as_sets = [{tuple(row) for row in rows.tolist()} for rows in (ours.queue.rows, theirs.memory_bank.bank)]
    assert as_sets[0] == as_sets[1]


def test_value_equals_manual_calculation():
    """A query at its key, two orthogonal negatives: e against e + 2."""
    eye = torch.eye(4, dtype=torch.float64)
    assert info_nce(eye[:2], eye[:2], eye[2:], 1.0).item() == pytest.approx(math.log(math.e + 2) - 1)


def test_positive_is_never_among_the_negatives():
    """The key is enqueued after the loss: a queue of exactly one batch holds the batch before and not this one."""
    loss = InfoNCELoss(temperature=1.0, queue_size=2).double()
    eye = torch.eye(4, dtype=torch.float64)
    loss(eye[:2], eye[:2])
    # With the key it were log(2e + 1) - 1
    assert loss(eye[2:], eye[2:]).item() == pytest.approx(math.log(math.e + 2) - 1)


def test_keys_and_queue_count_as_constants():
    query, key = (z.requires_grad_() for z in pair())
    rows = filled().queue.rows.requires_grad_()
    info_nce(query, key, rows).backward()
    assert query.grad.any()
    assert key.grad is None
    assert rows.grad is None


def test_without_a_negative_the_loss_is_zero():
    loss, (query, key) = InfoNCELoss(), pair()
    query.requires_grad_()
    value = loss(query, key)
    value.backward()
    assert value.item() == 0
    assert not query.grad.any()
    assert len(loss.queue.rows) == len(key)


def test_update_alone_fills_the_queue():
    loss, (_, key) = InfoNCELoss(), pair()
    loss.update(key)
    torch.testing.assert_close(loss.queue.rows, key / key.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("temperature", [1e-6, 0.07, 100.0])
def test_half_precision_is_finite_with_a_filled_queue(dtype, temperature):
    query, key = (z.to(dtype) for z in pair())
    query.requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        value = filled(temperature=temperature).float()(query, key)
    value.backward()
    assert value.isfinite()
    assert query.grad.isfinite().all()


@pytest.mark.parametrize("make", [torch.zeros_like, torch.ones_like])
def test_degenerate_batches_are_finite_with_a_filled_queue(make):
    loss, (query, key) = filled(), pair()
    query = make(query).requires_grad_()
    for _ in range(2):
        value = loss(query, make(key))
        value.backward()
        assert value.isfinite()
        assert query.grad.isfinite().all()


def test_queue_of_another_width_raises_with_both():
    query, key = pair()
    with pytest.raises(ValueError, match=r"D of the embeddings \(16, 5\), got shape \(7, 3\)"):
        info_nce(query, key, torch.ones(7, 3))
    with pytest.raises(ValueError, match=r"queue must be floating point, got torch\.int64"):
        info_nce(query, key, torch.ones(7, 5, dtype=torch.int64))
