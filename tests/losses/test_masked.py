"""Patches, and the losses of masked ones, beyond the contract.

Oracles: lightly 1.6's patchify and normalisation of patches (its MAE's), SimMIM's formula on whole images, torch's smooth L1.
"""

import pytest
import torch
import torch.nn.functional as F
from lightly.models import utils as lightly

from ssl_losses import masked_feature_regression, masked_reconstruction, patchify


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def mask():
    """Three images of 6 patches: 1, 4 and none masked."""
    return torch.arange(6) < torch.tensor([1, 4, 0])[:, None]


def test_patches_are_those_of_lightly():
    images = randn(2, 3, 8, 8)
    assert torch.equal(patchify(images, 4), lightly.patchify(images, 4))


def test_patches_of_images_that_are_not_square_come_row_by_row():
    images = randn(2, 3, 4, 6)
    patches = patchify(images, 2)
    assert patches.shape == (2, 6, 12)
    assert torch.equal(patches[:, 4], images[:, :, 2:4, 2:4].permute(0, 2, 3, 1).flatten(1))


@pytest.mark.parametrize(("shape", "size"), [((1, 3, 8, 7), 2), ((1, 3, 8, 8), 3), ((3, 8, 8), 2), ((1, 3, 8, 8), 0)])
def test_images_that_do_not_divide_raise(shape, size):
    with pytest.raises(ValueError, match=rf"divisible by patch_size={size}, got shape \({shape[0]}, "):
        patchify(torch.zeros(shape), size)


def test_reconstruction_is_that_of_mae_with_normalised_pixels(mask):
    """Deviation: none; lightly's criterion is torch's MSE on the masked patches."""
    images, prediction = randn(3, 3, 4, 6), randn(3, 6, 12, seed=1)
    target = patchify(images, 2)
    expected = F.mse_loss(prediction[mask], lightly.normalize_mean_var(target[mask]))
    torch.testing.assert_close(masked_reconstruction(prediction, target, mask), expected)


def test_reconstruction_is_that_of_simmim(mask):
    """SimMIM sums the absolute errors over the masked pixels of whole images, and divides by their number and the channels."""
    images, predicted = randn(3, 3, 4, 6), randn(3, 3, 4, 6, seed=1)
    pixels = mask.view(3, 2, 3).repeat_interleave(2, 1).repeat_interleave(2, 2).unsqueeze(1)
    expected = ((images - predicted).abs() * pixels).sum() / pixels.sum() / 3
    found = masked_reconstruction(
        patchify(predicted, 2), patchify(images, 2), mask, normalize_target=False, distance="absolute"
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("beta", [0.0, 0.5, 2.0])
def test_regression_is_torchs_smooth_l1_of_normalised_features(mask, beta):
    prediction, target = randn(3, 6, 8), randn(3, 6, 8, seed=1)
    expected = F.smooth_l1_loss(prediction[mask], F.layer_norm(target, (8,))[mask], beta=beta)
    torch.testing.assert_close(masked_feature_regression(prediction, target, mask, beta=beta), expected)


def test_regression_without_a_mask_takes_every_patch():
    prediction, target = randn(3, 6, 8), randn(3, 6, 8, seed=1)
    expected = F.smooth_l1_loss(prediction, target)
    torch.testing.assert_close(masked_feature_regression(prediction, target, normalize_target=False), expected)


LOSSES = [masked_reconstruction, masked_feature_regression]


@pytest.mark.parametrize("loss", LOSSES)
def test_unmasked_patches_do_not_matter(loss, mask):
    prediction, target = randn(3, 6, 8).requires_grad_(), randn(3, 6, 8, seed=1)
    value = loss(prediction, target, mask)
    (gradient,) = torch.autograd.grad(value, prediction)
    assert not gradient[~mask].any()
    changed = target.masked_fill(~mask.unsqueeze(2), 1e9)
    assert torch.equal(loss(prediction, changed, mask), value)


@pytest.mark.parametrize("loss", LOSSES)
def test_mask_over_a_grid_is_that_over_its_patches(loss, mask):
    prediction, target = randn(3, 6, 8), randn(3, 6, 8, seed=1)
    assert torch.equal(loss(prediction, target, mask.view(3, 2, 3)), loss(prediction, target, mask))


@pytest.mark.parametrize("loss", LOSSES)
def test_no_masked_patch_at_all_is_a_loss_of_0(loss, mask):
    prediction = randn(3, 6, 8).requires_grad_()
    value = loss(prediction, randn(3, 6, 8), torch.zeros_like(mask))
    value.backward()
    assert value.item() == 0
    assert not prediction.grad.any()


@pytest.mark.parametrize("loss", LOSSES)
def test_constant_target_is_0_when_normalised(loss, mask):
    zeros = torch.zeros(3, 6, 8)
    assert loss(zeros, torch.full((3, 6, 8), 7.0), mask).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_masks_that_do_not_fit_raise_with_the_remedy(loss, mask):
    z = torch.zeros(3, 6, 8)
    with pytest.raises(ValueError, match=r"bool.*got torch.int64; mask.bool\(\) converts"):
        loss(z, z, mask.long())
    with pytest.raises(ValueError, match=r"\(3, 6\) for patches \(3, 6, 8\), got shape \(3, 5\)"):
        loss(z, z, mask[:, :5])
    with pytest.raises(ValueError, match=r"got shape \(6,\)"):
        loss(z, z, mask[0])
    with pytest.raises(ValueError, match=r"prediction must be \(N, P, D\).*got shape \(3, 6\)"):
        loss(z[:, :, 0], z, mask)


def test_illegal_options_raise(mask):
    z = torch.zeros(3, 6, 1)
    with pytest.raises(ValueError, match="distance must be one of 'squared', 'absolute', got 'l2'"):
        masked_reconstruction(z, z, mask, distance="l2")
    with pytest.raises(ValueError, match="patches of 1 number have no variance"):
        masked_reconstruction(z, z, mask)
    with pytest.raises(ValueError, match="beta must be finite and at least 0, got -1"):
        masked_feature_regression(z, z, mask, beta=-1)
