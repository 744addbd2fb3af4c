"""The Vision Transformer. Oracle: timm with the same weights."""

from functools import partial

import pytest
import timm
import torch
from torch import nn

from ssl_core.backbones.vit import VisionTransformer
from ssl_core.modules.transformer.blocks import DropPath, sine_cosine_positions

NAMES = {
    "patches.": "patch_embed.proj.",
    ".out.": ".attn.proj.",
    ".qkv.": ".attn.qkv.",
    "mlp.0": "mlp.fc1",
    "mlp.2": "mlp.fc2",
}


def pair(registers=0, pool="class"):
    """Return our ViT and timm's, with the same random weights, for images of 24 x 32 and patches of 4."""
    ours = VisionTransformer((3, 24, 32), 4, width=24, depth=3, num_heads=3, pool=pool, registers=registers).double()
    theirs = timm.models.VisionTransformer(
        (24, 32), 4, embed_dim=24, depth=3, num_heads=3, num_classes=0, class_token=pool == "class", reg_tokens=registers,
        no_embed_class=True, global_pool="token" if pool == "class" else "avg", fc_norm=False,
    ).double()  # fmt: skip
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.3)
    state = {"pos_embed": ours.positions[None].double()}
    for name, value in ours.state_dict().items():
        for mine, timms in NAMES.items():
            name = name.replace(mine, timms)
        state[name] = value
    if pool == "class":
        state["cls_token"] = state.pop("class_token")[None, None]
    if registers:
        state["reg_token"] = state.pop("registers")[None]
    theirs.load_state_dict(state)
    return ours.eval(), theirs.eval()


IMAGES = torch.randn(2, 3, 24, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("registers", "pool"), [(0, "class"), (4, "class"), (2, "mean"), (0, "mean")])
def test_vit_equals_timms(registers, pool):
    ours, theirs = pair(registers, pool)
    torch.testing.assert_close(ours.tokens(IMAGES), theirs.forward_features(IMAGES))
    torch.testing.assert_close(ours(IMAGES), theirs(IMAGES))
    assert ours.num_prefix_tokens == theirs.num_prefix_tokens


def test_intermediate_tokens_equal_timms():
    ours, theirs = pair(registers=1)
    found = ours.intermediate_tokens(IMAGES, [0, -1])
    expected = theirs.forward_intermediates(
        IMAGES, indices=[0, 2], return_prefix_tokens=True, output_fmt="NLC", intermediates_only=True
    )
    for tokens, (patches, prefix) in zip(found, expected):
        torch.testing.assert_close(tokens, torch.cat([prefix, patches], dim=1))


def test_kept_patches_are_computed_alone():
    """Attention sees a set: with all patches kept in another order the tokens are the same, and dropped ones have no effect."""
    vit, _ = pair(registers=1)
    order = torch.stack([torch.randperm(48), torch.randperm(48)])
    everything = vit.tokens(IMAGES)
    torch.testing.assert_close(vit.tokens(IMAGES, keep=order)[:, 2:], everything[:, 2:].gather(1, index(order, 24)))
    keep = order[:, :12]
    found = vit.tokens(IMAGES, keep=keep)
    assert found.shape == (2, 2 + 12, 24)
    dropped = torch.ones(2, 48, dtype=torch.bool).scatter_(1, keep, False)
    noisy = torch.where(pixels(dropped), IMAGES + 100, IMAGES)
    torch.testing.assert_close(vit.tokens(noisy, keep=keep), found)


def index(indices, width):
    return indices[..., None].expand(-1, -1, width)


def pixels(mask):
    """Return a mask of patches ``(N, 48)`` as one of pixels ``(N, 1, 24, 32)``."""
    return mask.view(-1, 1, 6, 8).repeat_interleave(4, 2).repeat_interleave(4, 3)


def test_masked_patches_are_replaced_by_the_mask_token():
    """Oracle: the projection of the patch, replaced by hand before the position is added."""
    vit, theirs = pair()
    mask, token = torch.rand(2, 48) < 0.5, torch.randn(24, dtype=torch.float64, requires_grad=True)
    found = vit.tokens(IMAGES, mask=mask, mask_token=token)
    patches = theirs.patch_embed(IMAGES)
    patches[mask] = token
    expected = torch.cat([theirs.cls_token.expand(2, -1, -1), patches + theirs.pos_embed], dim=1)
    torch.testing.assert_close(found, theirs.norm(theirs.blocks(expected)))
    found.sum().backward()
    assert token.grad.abs().min() > 0
    torch.testing.assert_close(
        vit.tokens(torch.where(pixels(mask), IMAGES + 100, IMAGES), mask=mask, mask_token=token), found
    )
    with pytest.raises(ValueError, match="mask without mask_token"):
        vit.tokens(IMAGES, mask=mask)


def test_positions_of_another_size_are_those_of_the_same_places():
    """A patch in the middle of the image keeps its position; the own size has exactly its own."""
    vit = VisionTransformer((3, 24, 24), 8, width=16, depth=1, num_heads=1)
    assert torch.equal(sine_cosine_positions(3, 3, 16, (3, 3)), vit.positions)
    torch.testing.assert_close(vit.positions_of((5, 5))[12], vit.positions[4])
    torch.testing.assert_close(vit.positions_of((9, 9)).view(9, 9, 16)[1::3, 1::3], vit.positions.view(3, 3, 16))
    assert vit(torch.zeros(2, 3, 40, 16)).shape == (2, 16)
    assert vit.positions_of((5, 5)) is vit.positions_of((5, 5))  # computed once, and not part of the state
    assert not any("positions" in name for name in vit.state_dict())


@pytest.mark.parametrize("shape", [(3, 30, 32), (3, 24, 33), (1, 24, 32)])
def test_images_that_do_not_fit_are_an_error(shape):
    with pytest.raises(ValueError, match=r"expected 3 channels and sides that are multiples of patch_size=4"):
        pair()[0](torch.zeros(1, *shape, dtype=torch.float64))


def test_drop_path_equals_timms():
    """Oracle: timm from the same seed."""
    rates = [block.drop_path.drop_prob for block in VisionTransformer((3, 8, 8), 4, 8, 4, 1, drop_path=0.3).blocks]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3])
    x = torch.randn(1000, 2)
    torch.manual_seed(0)
    found = DropPath(0.3)(x)
    torch.manual_seed(0)
    torch.testing.assert_close(found, timm.layers.DropPath(0.3)(x))
    assert torch.equal(DropPath(0.3).eval()(x), x)
    with pytest.raises(ValueError, match=r"drop_prob=1.0: expected a number in \[0, 1\)"):
        DropPath(1.0)


def test_causal_vit_ignores_later_patches():
    vit = VisionTransformer((3, 24, 32), 4, 24, 2, 3, pool="mean", causal=True).double()
    changed = IMAGES.clone()
    changed[:, :, 12:] += 1
    torch.testing.assert_close(vit.tokens(changed)[:, :24], vit.tokens(IMAGES)[:, :24])
    assert not torch.allclose(vit.tokens(changed)[:, 24:], vit.tokens(IMAGES)[:, 24:])


def test_attention_mask_replaces_causal_attention():
    """Oracle: the causal ViT; and a token that attends to nothing but itself."""
    causal = VisionTransformer((3, 24, 32), 4, 24, 2, 3, pool="mean", causal=True).double()
    plain = VisionTransformer((3, 24, 32), 4, 24, 2, 3, pool="mean", checkpointing=True).double()
    plain.load_state_dict(causal.state_dict())
    lower = torch.ones(48, 48, dtype=torch.bool).tril()[None, None].expand(2, 1, 48, 48)
    torch.testing.assert_close(plain.tokens(IMAGES, attend=lower), causal.tokens(IMAGES))
    alone = torch.eye(48, dtype=torch.bool)[None, None]
    torch.testing.assert_close(
        causal.tokens(IMAGES, attend=alone)[:, :3],
        plain.tokens(IMAGES, keep=torch.arange(3).expand(2, 3), attend=alone[..., :3, :3]),
    )


def test_checkpointing_changes_no_gradient():
    plain = VisionTransformer((3, 24, 32), 4, 24, 2, 3).double()
    recomputed = VisionTransformer((3, 24, 32), 4, 24, 2, 3, checkpointing=True).double()
    recomputed.load_state_dict(plain.state_dict())
    for vit in (plain, recomputed):
        vit(IMAGES).square().sum().backward()
    for mine, theirs in zip(plain.parameters(), recomputed.parameters()):
        torch.testing.assert_close(mine.grad, theirs.grad)


def rotary_pair():
    """Return our ViT with rotary positions and timm's of DINOv3, whose keys have no bias, with the same random weights."""
    ours = VisionTransformer((3, 24, 32), 4, width=24, depth=2, num_heads=3, registers=2, positions="rotary").double()
    theirs = timm.models.eva.Eva(
        (24, 32), 4, embed_dim=24, depth=2, num_heads=3, num_classes=0, num_reg_tokens=2, global_pool="token",
        use_abs_pos_emb=False, use_rot_pos_emb=True, rope_type="dinov3", rope_temperature=100, rope_rotate_half=True,
        use_fc_norm=False, dynamic_img_size=True, norm_layer=partial(nn.LayerNorm, eps=1e-6),
    ).double()  # fmt: skip
    state = {}
    for name, parameter in ours.named_parameters():
        nn.init.normal_(parameter, std=0.3)
        value = parameter.detach()
        if name.endswith("qkv.bias"):
            value[24:48] = 0.0
            block = name.removesuffix("qkv.bias")
            state |= {f"{block}attn.q_bias": value[:24], f"{block}attn.v_bias": value[48:]}
            continue
        for mine, timms in NAMES.items():
            name = name.replace(mine, timms)
        state[name] = value
    state["cls_token"], state["reg_token"] = state.pop("class_token")[None, None], state.pop("registers")[None]
    theirs.load_state_dict(state)
    return ours.eval(), theirs.eval()


def test_rotary_vit_equals_timms_dinov3():
    """Also for images of another size, whose corners keep their coordinates. timm's periods are float32."""
    ours, theirs = rotary_pair()
    for images in (IMAGES, IMAGES[:, :, :16, :20]):
        torch.testing.assert_close(ours.tokens(images), theirs.forward_features(images), rtol=1e-5, atol=1e-5)
    assert not any("rotary" in name for name in ours.state_dict())  # the same names and weights as without them


def test_kept_patches_keep_their_rotation():
    """All patches in another order are the same tokens in this order."""
    ours, _ = rotary_pair()
    order = torch.stack([torch.randperm(48, generator=torch.Generator().manual_seed(n)) for n in range(2)])
    whole = ours.tokens(IMAGES)
    found = ours.tokens(IMAGES, keep=order)
    torch.testing.assert_close(found[:, :3], whole[:, :3])
    torch.testing.assert_close(found[:, 3:], whole[:, 3:].gather(1, order[..., None].expand(-1, -1, 24)))
