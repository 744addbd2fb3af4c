"""Attention maps of the class token, against timm's attention and torch's."""

import pytest
import torch

from ssl_core.backbones.resnet9 import ResNet9
from ssl_core.backbones.timm_vit import add_vit_methods
from ssl_core.backbones.vit import VisionTransformer
from ssl_core.evaluation.pictures.attention import class_attention, has_attention


def images(size=16):
    return torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "options", [{}, {"reg_tokens": 2}, {"qk_norm": True}, {"class_token": False, "global_pool": "avg"}]
)
def test_attention_equals_timms_unfused_attention(options):
    """Oracle: the weights that timm's Attention multiplies with the values, with ``fused_attn`` off."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    sizes = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 0}
    model = timm.models.VisionTransformer(**sizes, **options).eval()
    add_vit_methods(model)
    layer, seen = model.blocks[-1].attn, []
    layer.fused_attn = False
    layer.attn_drop.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    found = class_attention(model, images())
    prefix = model.num_prefix_tokens
    queries = seen[0][:, :, 0] if model.cls_token is not None else seen[0].mean(2)
    torch.testing.assert_close(found, queries[:, :, prefix:].reshape(3, 3, 4, 4), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"registers": 2}, {"positions": "rotary"}, {"pool": "mean"}, {"causal": True}])
def test_attention_weighs_the_values_of_the_block(options):
    """Oracle: ``scaled_dot_product_attention`` of the block, whose values are replaced by one unit vector for each token."""
    torch.manual_seed(0)
    model = VisionTransformer((3, 16, 16), 4, width=16 * 3 * 4, depth=2, num_heads=3, **options).eval()
    block, given, tokens = model.blocks[-1], [], 16 + model.num_prefix_tokens
    found = class_attention(model, images())

    def unit_values(_, __, qkv):
        q, k, v = qkv.chunk(3, dim=2)
        eye = torch.eye(tokens, v.shape[2] // 3).repeat(1, 3).expand_as(v)
        return torch.cat([q, k, eye], dim=2)

    block.qkv.register_forward_hook(unit_values)
    block.out.register_forward_hook(lambda _, seen, __: given.append(seen[0]))
    with torch.no_grad():
        model(images())
    weights = given[0].unflatten(2, (3, -1))[..., :tokens].transpose(1, 2)  # (N, heads, L, L)
    prefix = model.num_prefix_tokens
    queries = weights[:, :, 0] if prefix else weights.mean(2)
    torch.testing.assert_close(found, queries[:, :, prefix:].reshape(3, 3, 4, 4), rtol=1e-5, atol=1e-6)


def test_attention_of_another_block_and_image_size():
    model = VisionTransformer((3, 16, 16), 4, width=24, depth=2, num_heads=3).eval()
    assert class_attention(model, images(24)).shape == (3, 3, 6, 6)
    assert not torch.equal(class_attention(model, images(), 0), class_attention(model, images(), 1))
    assert not model.blocks[0].qkv._forward_hooks  # none is left


def test_convolutional_backbone_has_no_attention():
    assert not has_attention(ResNet9((3, 16, 16), width=4))
    assert not has_attention(None)
    with pytest.raises(ValueError, match="backbone: expected a vision transformer"):
        class_attention(ResNet9((3, 16, 16), width=4), images())
