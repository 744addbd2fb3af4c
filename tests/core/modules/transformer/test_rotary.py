"""Rotary positions. Oracle: timm's of DINOv3; the whole ViT is compared in tests/core/backbones/test_vit.py."""

import math

import pytest
import torch
from timm.layers import RotaryEmbeddingDinoV3, apply_rot_embed_cat

from ssl_core import ConfigError
from ssl_core.backbones import build_backbone
from ssl_core.modules.ema import Teacher
from ssl_core.modules.transformer.rotary import RotaryPositions, rotate

X = torch.randn(2, 3, 6, 16, generator=torch.Generator().manual_seed(0))  # two images, three heads, 2 x 3 patches


def test_rotation_equals_timms():
    found = rotate(X, RotaryPositions(16).eval()((2, 3), 0, X))
    expected = apply_rot_embed_cat(X, RotaryEmbeddingDinoV3(16).get_embed((2, 3)), half=True)
    torch.testing.assert_close(found, expected)


def test_prefix_tokens_are_not_rotated():
    found = rotate(X, RotaryPositions(16).eval()((2, 2), 2, X))
    assert torch.equal(found[:, :, :2], X[:, :, :2])
    assert not torch.equal(found[:, :, 2:], X[:, :, 2:])


def test_coordinates_are_rescaled_by_one_factor_in_training_only():
    """The angle of a place is proportional to its coordinate: the factor is that of all angles."""
    positions = RotaryPositions(16, rescale=2.0)
    _, sine = positions.eval()((1, 64), 0, X)
    assert torch.equal(sine, positions((1, 64), 0, X)[1])
    slow = 7  # the dimension of the columns with the longest period: less than half a turn
    factors = []
    for seed in range(40):
        torch.manual_seed(seed)
        _, changed = positions.train()((1, 64), 0, X)
        ratio = changed[28:36, slow].asin() / sine[28:36, slow].asin()
        torch.testing.assert_close(ratio, ratio[:1].expand(8))
        factors.append(float(ratio[0]))
    logs = torch.tensor(factors).log() / math.log(2)
    assert -1 <= logs.min() < -0.5 < 0.5 < logs.max() <= 1
    torch.manual_seed(0)
    cosine, _ = Teacher(positions).train()((1, 64), 0, X)
    assert torch.equal(cosine, positions.eval()((1, 64), 0, X)[0])


def test_heads_of_other_widths_raise():
    with pytest.raises(ValueError, match="head_width=6"):
        RotaryPositions(6)
    with pytest.raises(ConfigError) as caught:
        build_backbone("vit_tiny", (3, 32, 32), width=36, num_heads=6, positions="rotary")
    assert (caught.value.key, caught.value.value) == ("model.backbone_options.num_heads", 6)
