"""The decoder of MAE and the predictor of I-JEPA."""

import pytest
import torch
from torch import nn

from ssl_core.modules.masks.patch_masks import random_mask, split_mask
from ssl_core.modules.multi_crop import forward_by_size
from ssl_core.modules.transformer.patch_predictor import PatchPredictor

KEEP, DROP, INVERSE = split_mask(random_mask(torch.arange(3), (4, 4), 0.75, 0, 0), 12)


def predictor(**options):
    module = PatchPredictor((4, 4), inputs=6, outputs=5, width=8, depth=2, num_heads=2, **options).double()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


@pytest.mark.parametrize("prefix", [0, 1, 3])
def test_predictions_are_those_of_maes_decoder(prefix):
    """Oracle: the published decoder, which restores the order of the patches and predicts all of them."""
    module, tokens = predictor(), torch.randn(3, prefix + 4, 6, dtype=torch.float64)
    x = module.project(tokens)
    patches = torch.cat([x[:, prefix:], module.mask_token.expand(3, 12, -1)], dim=1)
    patches = patches.gather(1, INVERSE[..., None].expand(-1, -1, 8)) + module.positions
    x = torch.cat([x[:, :prefix], patches], dim=1)
    for block in module.blocks:
        x = block(x)
    expected = module.head(module.norm(x))[:, prefix:]
    dropped = expected.gather(1, DROP[..., None].expand(-1, -1, 5))
    torch.testing.assert_close(module(tokens, KEEP, DROP), dropped)
    kept = expected.gather(1, KEEP[..., None].expand(-1, -1, 5))
    torch.testing.assert_close(module(tokens, KEEP, DROP, visible=True), torch.cat([kept, dropped], dim=1))


def test_cross_attention_predicts_each_patch_alone():
    """Oracle: torch's attention. A prediction does not depend on the other patches to predict."""
    module, tokens = predictor(cross_attention=True), torch.randn(3, 1 + 4, 6, dtype=torch.float64)
    found = module(tokens, KEEP, DROP)
    torch.testing.assert_close(module(tokens, KEEP, DROP[:, 3:5]), found[:, 3:5])
    block = module.blocks[0]
    x, context = torch.randn(3, 2, 8, dtype=torch.float64), torch.randn(3, 5, 8, dtype=torch.float64)
    theirs = nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64)
    theirs.load_state_dict({
        "in_proj_weight": torch.cat([block.q.weight, block.kv.weight]),
        "in_proj_bias": torch.cat([block.q.bias, block.kv.bias]),
        "out_proj.weight": block.out.weight, "out_proj.bias": block.out.bias,
    })  # fmt: skip
    seen = block.norm_context(context)
    expected = x + theirs(block.norm1(x), seen, seen, need_weights=False)[0]
    torch.testing.assert_close(block(x, context), expected + block.mlp(block.norm2(expected)))


@pytest.mark.parametrize("cross_attention", [False, True])
def test_every_parameter_gets_a_gradient(cross_attention):
    module = predictor(cross_attention=cross_attention)
    module(torch.randn(3, 5, 6, dtype=torch.float64), KEEP, DROP).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in module.parameters())


def test_views_of_one_size_share_a_pass():
    views = [torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8), torch.randn(2, 3, 4, 4), torch.randn(1, 3, 4, 4)]
    sizes = []

    def module(x):
        sizes.append(tuple(x.shape))
        return x.mean((2, 3))

    outputs = forward_by_size(module, views)
    assert sizes == [(4, 3, 8, 8), (3, 3, 4, 4)]
    for view, output in zip(views, outputs):
        torch.testing.assert_close(output, view.mean((2, 3)))
