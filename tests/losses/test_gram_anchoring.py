"""Gram anchoring beyond the contract."""

import pytest
import torch
import torch.nn.functional as F

from ssl_losses import gram_anchoring


def patches(seed, width=6):
    return torch.randn(3, 4, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_it_is_the_mean_squared_error_of_the_cosines():
    """Oracle: torch's normalize and mse_loss, as the authors' code calls them at the level of images."""
    student, teacher = patches(0), patches(1)
    ours, theirs = (x @ x.mT for x in (F.normalize(student, dim=-1), F.normalize(teacher, dim=-1)))
    assert gram_anchoring(student, teacher).item() == pytest.approx(F.mse_loss(ours, theirs).item(), rel=1e-12)


def test_teacher_may_be_wider():
    assert 0 < gram_anchoring(patches(0), patches(1, width=9)).item() < 4


def test_patches_that_turn_together_change_nothing():
    """The similarities are anchored, not the features."""
    rotation = torch.linalg.qr(patches(2)[0].T @ patches(2)[0])[0]
    assert gram_anchoring(patches(0) @ rotation, patches(0)).item() == pytest.approx(0, abs=1e-24)


def test_images_do_not_mix():
    student, teacher = patches(0), patches(1)
    alone = [gram_anchoring(s, t).item() for s, t in zip(student.split(1), teacher.split(1))]
    assert gram_anchoring(student, teacher).item() == pytest.approx(sum(alone) / 3, rel=1e-12)


def test_invalid_input_raises_with_both_shapes():
    with pytest.raises(ValueError, match=r"same patches, got shapes \(3, 4, 6\) and \(3, 2, 6\).*student's grid"):
        gram_anchoring(patches(0), patches(1)[:, :2])
    with pytest.raises(ValueError, match=r"student must be \(N, P, D\) and not empty, got shape \(3, 4\)"):
        gram_anchoring(patches(0)[..., 0], patches(1)[..., 0])
