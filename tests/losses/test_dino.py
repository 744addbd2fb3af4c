"""DINO beyond the contract. Oracle: DINOLoss of pip's lightly 1.6, a second implementation of the authors' code.

Lightly's centre is ``(1, 1, K)`` and always mean; its schedule of the teacher's temperature is not ours. Otherwise there is
no deviation.
"""

import math

import pytest
import torch
from lightly.loss import DINOLoss as LightlyDINOLoss

from ssl_losses import DINOLoss, dino, sinkhorn


def views(number, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(6, 7, generator=generator) for _ in range(number)]


def test_three_steps_are_those_of_lightly():
    ours = DINOLoss(num_prototypes=7, teacher_temperature=0.06)
    theirs = LightlyDINOLoss(output_dim=7, teacher_temp=0.06, warmup_teacher_temp_epochs=1)
    for step in range(3):
        student, teacher = views(4, seed=step), views(2, seed=10 + step)
        torch.testing.assert_close(ours(student, teacher), theirs(teacher, student))
        torch.testing.assert_close(ours.center, theirs.center.flatten())


def test_schedule_of_the_temperature_is_the_callers():
    student, teacher = views(2), views(2, seed=1)
    loss = DINOLoss(num_prototypes=7, teacher_temperature=0.04).eval()
    assert torch.equal(
        loss(student, teacher, teacher_temperature=0.07), DINOLoss(7, teacher_temperature=0.07)(student, teacher)
    )


def test_view_does_not_learn_from_itself():
    student, teacher = views(2), views(2, seed=1)
    student[0].requires_grad_()
    dino(student, [teacher[0], torch.zeros(6, 7)], torch.zeros(7)).backward()
    uniform = torch.full((6, 7), 1 / 7)  # the second teacher's view alone: its target says nothing
    expected = (student[0].detach() / 0.1).softmax(1) - uniform
    torch.testing.assert_close(student[0].grad, expected / 0.1 / 6 / 2)


def test_centre_moves_after_the_loss_by_all_teacher_views():
    teacher = [torch.full((3, 2), 1.0), torch.full((3, 2), 3.0)]
    loss = DINOLoss(num_prototypes=2, center_momentum=0.75)
    student = [torch.ones(3, 2), -torch.ones(3, 2)]
    assert torch.equal(loss(student, teacher), dino(student, teacher, center=torch.zeros(2)))
    assert loss.center.tolist() == [0.5, 0.5]  # a quarter of the way from 0 to 2


def test_sinkhorn_balances_all_teachers_views_together():
    """Oracle: the cross-entropy with codes of both views at once, as DINOv2 computes them."""
    student, teacher = views(3), views(2, seed=1)
    loss = DINOLoss(num_prototypes=7, centering="sinkhorn")
    codes = sinkhorn(torch.cat(teacher), 0.04).chunk(2)
    pairs = [(t, s) for t in range(2) for s in range(3) if t != s]
    expected = sum(-(codes[t] * (student[s] / 0.1).log_softmax(1)).sum(1).mean() for t, s in pairs) / len(pairs)
    torch.testing.assert_close(loss(student, teacher), expected)
    assert not loss.state_dict()


def test_student_equal_to_a_one_hot_teacher_has_no_loss():
    sure = 100 * torch.eye(4)
    assert dino([sure, sure], [sure, sure], torch.zeros(4)).item() == pytest.approx(0, abs=1e-6)
    assert dino([0 * sure] * 2, [sure] * 2, torch.zeros(4)).item() == pytest.approx(math.log(4))


@pytest.mark.parametrize(("students", "teachers"), [(1, 1), (3, 0), (0, 2)])
def test_views_without_a_pair_raise(students, teachers):
    with pytest.raises(ValueError, match=f"got {teachers} of the teacher and {students} of the student"):
        dino(views(students), views(teachers), torch.zeros(7))


def test_illegal_options_raise():
    with pytest.raises(ValueError, match="centering must be one of 'mean', 'sinkhorn', got 'median'"):
        DINOLoss(7, centering="median")
    with pytest.raises(ValueError, match=r"center_momentum must be between 0 and 1, got 1\.5"):
        DINOLoss(7, center_momentum=1.5)
    with pytest.raises(ValueError, match="num_prototypes must be at least 1, got 0"):
        DINOLoss(0)
    with pytest.raises(ValueError, match=r"center must be \(K,\).*\(6, 7\), got shape \(5,\)"):
        DINOLoss(num_prototypes=5)(views(2), views(2))


def test_update_equals_forward_and_is_checked():
    loss, other = DINOLoss(num_prototypes=7), DINOLoss(num_prototypes=7)
    loss(views(2), views(2, seed=1))
    other.update(views(2, seed=1))
    assert torch.equal(loss.center, other.center)
    with pytest.raises(ValueError, match=r"center must be \(K,\).*\(6, 6\), got shape \(7,\)"):
        other.update([z[:, :6] for z in views(2)])
    with pytest.raises(ValueError, match=r"got torch.int64"):
        other.update([z.long() for z in views(2)])
    with pytest.raises(ValueError, match="at least 1 views, got 0"):
        other.update([])
