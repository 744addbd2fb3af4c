"""iBOT beyond the contract. Oracle: IBOTPatchLoss of pip's lightly 1.6, after DINOv2's code: masked patches only."""

import math

import pytest
import torch
from lightly.loss import IBOTPatchLoss

from ssl_losses import IBOTLoss, ibot


def patches(seed):
    return torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def mask():
    """Four images of 2 x 3 patches; the last has none masked."""
    return torch.arange(6).view(2, 3) < torch.tensor([1, 4, 6, 0]).view(4, 1, 1)


def test_three_steps_on_masked_rows_are_those_of_lightly(mask):
    """No deviation: the loss, and the centre as the mean of the masked patches."""
    ours = IBOTLoss(num_prototypes=5, teacher_temperature=0.06)
    theirs = IBOTPatchLoss(output_dim=5, teacher_temp=0.06)
    for step in range(3):
        student, teacher = (patches(seed)[mask.flatten(1)] for seed in (step, 10 + step))
        torch.testing.assert_close(ours(student, teacher, mask), theirs(teacher, student, mask))
        torch.testing.assert_close(ours.center, theirs.center.value.flatten())


def test_all_patches_give_the_loss_of_the_masked_ones(mask):
    student, teacher = patches(0), patches(1)
    expected = ibot(student[mask.flatten(1)], teacher[mask.flatten(1)], mask, torch.ones(5))
    assert torch.equal(ibot(student, teacher, mask, torch.ones(5)), expected)
    assert torch.equal(ibot(student, teacher, mask.flatten(1), torch.ones(5)), expected)


def test_head_of_the_student_may_skip_unmasked_patches(mask):
    """The loss and the centre are those of all patches."""
    ours, theirs = IBOTLoss(num_prototypes=5), IBOTLoss(num_prototypes=5)
    for step in range(2):
        student, teacher = patches(step), patches(10 + step)
        assert torch.equal(ours(student[mask.flatten(1)], teacher, mask), theirs(student, teacher, mask))
        assert torch.equal(ours.center, theirs.center)


def test_all_patches_move_the_centre_as_in_the_authors_code(mask):
    loss = IBOTLoss(num_prototypes=5, center_momentum=0.9)
    loss(patches(0), patches(1), mask)
    torch.testing.assert_close(loss.center, 0.1 * patches(1).mean((0, 1)))


@pytest.mark.parametrize("centering", ["mean", "sinkhorn"])
def test_without_masked_patches_loss_and_update_are_0(mask, centering):
    loss = IBOTLoss(num_prototypes=5, centering=centering)
    student = torch.zeros(0, 5, requires_grad=True)
    value = loss(student, torch.zeros(0, 5), torch.zeros_like(mask))
    value.backward()
    assert value.item() == 0
    assert loss.center is None or not loss.center.any()


def test_images_count_equally_for_any_number_of_masked_patches(mask):
    """Only one patch has any loss; alone in its image it makes a third of the mean over 4 images less than among 6."""
    sure = 100 * torch.eye(5)[torch.zeros(4, 6, dtype=torch.int64)]
    for image, masked in enumerate((1, 4, 6)):
        student = sure.clone()
        student[image, 0] = 0
        assert ibot(student, sure, mask, torch.zeros(5)).item() == pytest.approx(math.log(5) / masked / 4, rel=1e-5)


def test_schedule_of_the_temperature_is_the_callers(mask):
    arguments = patches(0), patches(1), mask
    loss = IBOTLoss(num_prototypes=5).eval()
    expected = IBOTLoss(num_prototypes=5, teacher_temperature=0.04)(*arguments)
    assert torch.equal(loss(*arguments, teacher_temperature=0.04), expected)


def test_masks_that_do_not_fit_raise_with_the_remedy(mask):
    z, rows = patches(0), patches(0)[mask.flatten(1)]
    center = torch.zeros(5)
    with pytest.raises(ValueError, match=r"bool.*got torch.float32; mask.bool\(\)"):
        ibot(z, z, mask.float(), center)
    with pytest.raises(ValueError, match=r"\(4, 6\).*got shape \(4, 2, 2\)"):
        ibot(z, z, mask[:, :, :2], center)
    with pytest.raises(ValueError, match=r"\(4, 2, 3\) with 11 for rows \(10, 5\); z\[mask\] selects them"):
        ibot(rows[:10], rows[:10], mask, center)
    with pytest.raises(ValueError, match=r"got shape \(5,\)"):
        ibot(rows[0], rows[0], mask, center)
    with pytest.raises(ValueError, match=r"same shape, got \(4, 6, 5\) and \(4, 5, 5\)"):
        ibot(z, z[:, :5], mask, center)


def test_update_equals_forward_and_is_checked(mask):
    loss, other = IBOTLoss(num_prototypes=5), IBOTLoss(num_prototypes=5)
    loss(patches(0), patches(1), mask)
    other.update(patches(1))
    assert torch.equal(loss.center, other.center)
    with pytest.raises(ValueError, match=r"center must be \(K,\).*\(4, 6, 4\), got shape \(5,\)"):
        other.update(patches(1)[:, :, :4])
    with pytest.raises(ValueError, match=r"got torch.int64"):
        other.update(patches(1).long())
