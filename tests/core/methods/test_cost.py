"""What a step computes: floating-point operations as torch counts them."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ssl_core.batch import Batch
from ssl_core.methods import METHODS
from ssl_core.methods.mae import MAE, MAEConfig

VIT_B = {"patch_size": 1, "width": 48, "depth": 12, "num_heads": 3}  # ViT-B and MAE's decoder, a sixteenth as wide
MULTI_CROP = ("deepcluster_v2", "dino", "dinov2", "ibot", "lejepa", "msn", "swav", "visreg")
DECODER = {"decoder_width": 32, "decoder_depth": 8, "decoder_heads": 4}


def flops(function):
    with FlopCounterMode(display=False) as counter:
        function().backward()
    return counter.get_total_flops()


def test_mae_step_costs_at_most_045_of_a_full_one(make_config):
    """At a mask ratio of 0.75 the encoder sees a quarter of the patches; a full step encodes and decodes all of them."""
    config = make_config(optim__max_steps=1, optim__epochs=1, log__eval_every=0)
    config.model = MAEConfig(name="mae", backbone="vit_tiny", backbone_options=VIT_B, mask_ratio=0.75, **DECODER)
    config.data.views = 1
    model = MAE(config)
    counted = {}

    def count():
        images, grid = model.data.views[0], model.backbone.grid
        counted["step"] = flops(model.compute_loss)
        counted["all patches"] = flops(lambda: model.backbone.tokens(images).sum())
        visible = model.data.ids[:, None] * 0 + torch.arange(grid[0] * grid[1] // 4)
        counted["visible patches"] = flops(lambda: model.backbone.tokens(images, keep=visible).sum())

    model.before_train_step = count
    model.fit()
    full = counted["step"] - counted["visible patches"] + counted["all patches"]
    assert counted["step"] <= 0.45 * full
    assert counted["visible patches"] <= 0.27 * counted["all patches"]  # 16 patches and a class token of 64 and one


@pytest.mark.parametrize("name", [name for name in MULTI_CROP if name in METHODS])
def test_multi_crop_takes_one_forward_pass_per_size(make_method, name):
    model = make_method(name, optim__max_steps=1, optim__epochs=1, log__eval_every=0)
    sizes = []

    def count():
        n, size = len(model.data.ids), 8 if hasattr(model.backbone, "blocks") else 16  # ResNet-9 takes 8 at least
        views = [torch.randn(n, 3, side, side) for side in [size] * 2 + [size // 2] * 3]
        model.data = Batch(views, model.data.labels, model.data.ids)
        first = getattr(model.backbone, "patches", model.backbone)  # what every pass through a ViT begins with
        hook = first.register_forward_pre_hook(lambda module, inputs: sizes.append(inputs[0].shape[-1]))
        model.compute_loss()
        hook.remove()

    model.before_train_step = count
    model.fit()
    assert len(sizes) == len(set(sizes)) == 2
