"""ReSSL beyond the contract. lightly 1.6 does not have it."""

import math

import pytest
import torch
import torch.nn.functional as F
from views import pair

from ssl_losses import ReSSLLoss, ressl


def queue(rows=40):
    return F.normalize(torch.randn(rows, 5, generator=torch.Generator().manual_seed(9), dtype=torch.float64))


def relations(student, teacher, rows, student_temperature=0.1, teacher_temperature=0.04):
    """Both matrices of similarities, as the authors' code computes them."""
    wanted = (F.normalize(teacher) @ rows.T / teacher_temperature).softmax(1)
    said = (F.normalize(student) @ rows.T / student_temperature).log_softmax(1)
    return -(wanted * said).sum(1).mean()


@pytest.mark.parametrize("rows", [1, 40, 1500])
def test_value_and_gradient_are_those_of_both_matrices(rows):
    """Oracle: softmax and log-softmax of torch, through autograd."""
    student, teacher = pair()
    student.requires_grad_()
    ours, theirs = (loss(student, teacher, queue(rows)) for loss in (ressl, relations))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad(ours, student), torch.autograd.grad(theirs, student), rtol=1e-9, atol=1e-12
    )


def test_value_equals_manual_calculation():
    """A student that cannot tell two rows apart has an entropy of log 2, whatever the teacher says."""
    eye = torch.eye(2, dtype=torch.float64)
    assert ressl(torch.ones(2, 2, dtype=torch.float64), eye, eye).item() == pytest.approx(math.log(2))


def test_least_value_is_the_teachers_entropy():
    """At equal temperatures a student that repeats the teacher cannot do better."""
    student, teacher = pair()
    same, other = (ressl(z, teacher, queue(), 0.1, 0.1) for z in (teacher, student))
    relation = torch.distributions.Categorical(logits=F.normalize(teacher) @ queue().T / 0.1)
    torch.testing.assert_close(same, relation.entropy().mean(), rtol=1e-10, atol=1e-12)
    assert other > same


def test_row_is_never_compared_with_itself():
    """The queue takes this batch in after the loss: the teacher's second batch is orthogonal to all of the queue."""
    loss = ReSSLLoss().double()
    first, second = torch.eye(4, dtype=torch.float64).split(2)
    loss(first, first)
    assert loss(second, second).item() == pytest.approx(math.log(2))


def test_teacher_and_queue_count_as_constants():
    student, teacher = (z.requires_grad_() for z in pair())
    rows = queue().requires_grad_()
    ressl(student, teacher, rows).backward()
    assert student.grad.any()
    assert teacher.grad is None
    assert rows.grad is None


def test_without_a_relation_the_loss_is_zero():
    loss, (student, teacher) = ReSSLLoss(), pair()
    student.requires_grad_()
    value = loss(student, teacher)
    value.backward()
    assert value.item() == 0
    assert not student.grad.any()
    assert len(loss.queue.rows) == len(teacher)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("temperature", [1e-6, 0.04, 100.0])
def test_half_precision_is_finite_with_a_filled_queue(dtype, temperature):
    student, teacher = (z.to(dtype) for z in pair())
    student.requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        value = ressl(student, teacher, queue().float(), temperature, temperature)
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("make", [torch.zeros_like, torch.ones_like])
def test_degenerate_batches_are_finite_with_a_filled_queue(make):
    student, teacher = (make(z) for z in pair())
    student.requires_grad_()
    for rows in (queue(), make(queue())):
        value = ressl(student, teacher, rows)
        value.backward()
        assert value.isfinite()
        assert student.grad.isfinite().all()
