"""Vision Transformers of timm through the interface of ours. Oracle: timm's own forward passes."""

import pytest
import torch

from ssl_core.backbones import build_backbone
from ssl_core.backbones.timm_model import is_timm_vit
from ssl_core.modules.masks.patch_masks import random_mask, split_mask

TIMM = ["timm/vit_tiny_patch16_224", "timm/deit_tiny_distilled_patch16_224", "timm/vit_small_patch14_reg4_dinov2"]
OPTIONS = {"patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 3}
IMAGES = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=TIMM)
def vit(request):
    return build_backbone(request.param, (3, 16, 24), **OPTIONS).eval()


def test_tokens_equal_forward_features(vit):
    assert is_timm_vit(TIMM[0])
    expected = vit.forward_features(IMAGES)
    torch.testing.assert_close(vit.tokens(IMAGES), expected)
    torch.testing.assert_close(vit.norm(vit.intermediate_tokens(IMAGES, [-1])[0]), expected)
    features, feature_map = vit.forward_dense(IMAGES)
    torch.testing.assert_close(features, vit(IMAGES))
    torch.testing.assert_close(feature_map.flatten(2).transpose(1, 2), expected[:, vit.num_prefix_tokens :])
    assert (feature_map.shape, vit.grid, vit.patch_size) == ((2, 24, 4, 6), (4, 6), 4)


def test_intermediate_tokens_equal_forward_intermediates(vit):
    (patches, prefix), _ = vit.forward_intermediates(
        IMAGES, indices=[0, 1], return_prefix_tokens=True, output_fmt="NLC", intermediates_only=True
    )
    found, _ = vit.intermediate_tokens(IMAGES, [0, 1])
    torch.testing.assert_close(found, torch.cat([prefix, patches], dim=1))


def test_kept_and_masked_patches(vit):
    """Dropped or masked patches have no effect, and kept ones do not depend on their order."""
    mask = random_mask(torch.arange(2), vit.grid, 0.5, seed=0, epoch=0)
    keep, drop, _ = split_mask(mask, 12)
    pixels = mask.view(2, 1, 4, 6).repeat_interleave(4, 2).repeat_interleave(4, 3)
    noisy, prefix = torch.where(pixels, IMAGES + 100, IMAGES), vit.num_prefix_tokens
    found = vit.tokens(IMAGES, keep=keep)
    assert found.shape == (2, prefix + 12, 24)
    torch.testing.assert_close(vit.tokens(noisy, keep=keep), found)
    everything = vit.tokens(IMAGES, keep=torch.cat([keep, drop], dim=1))
    torch.testing.assert_close(
        everything[:, prefix:].gather(1, split_mask(mask, 12).inverse[..., None].expand(-1, -1, 24)),
        vit.tokens(IMAGES)[:, prefix:],
    )
    token = torch.randn(24)
    torch.testing.assert_close(
        vit.tokens(noisy, mask=mask, mask_token=token), vit.tokens(IMAGES, mask=mask, mask_token=token)
    )
    with pytest.raises(ValueError, match="mask without mask_token"):
        vit.tokens(IMAGES, mask=mask)


def test_attention_mask_equals_timms_causal_attention(vit):
    length = vit.num_prefix_tokens + 24
    attend = torch.ones(length, length, dtype=torch.bool).tril()[None, None]
    torch.testing.assert_close(vit.tokens(IMAGES, attend=attend), vit.forward_features(IMAGES, is_causal=True))


def test_positions_of_another_size_are_interpolated():
    """The own size has exactly its own positions: oracle, the model that accepts one size only."""
    vit = build_backbone(TIMM[0], (3, 16, 24), **OPTIONS).eval()
    fixed = build_backbone(TIMM[0], (3, 16, 24), **OPTIONS, dynamic_img_size=False).eval()
    fixed.load_state_dict(vit.state_dict())
    assert torch.equal(vit.tokens(IMAGES), fixed.tokens(IMAGES))
    assert vit.tokens(IMAGES[..., :12]).shape == (2, 1 + 12, 24)


@pytest.mark.parametrize("name", ["timm/resnet18", "timm/eva02_tiny_patch14_224", "timm/swin_tiny_patch4_window7_224"])
def test_other_models_of_timm_have_no_tokens(name):
    assert not is_timm_vit(name)
