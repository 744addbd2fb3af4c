"""Learning rates that decay layer by layer, against timm's groups and MAE's rule."""

import pytest
import torch
from torch import nn

from ssl_core import ConfigError, OptimConfig
from ssl_core.backbones import build_backbone
from ssl_core.optimizers import build_optimizer, split_groups
from ssl_core.optimizers.layer_decay import layers_above

timm = pytest.importorskip("timm")


class Method(nn.Module):
    """A backbone with a head on it, as methods have them."""

    def __init__(self, backbone):
        super().__init__()
        self.head = nn.Linear(backbone.num_features, 10)
        self.backbone = backbone


def rates(module, groups):
    """Return the name of a parameter -> (its learning rate, its weight decay)."""
    names = {parameter: name for name, parameter in module.named_parameters()}
    return {names[p]: (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet18", "convnext_atto", "beit_base_patch16_224"])
def test_layers_of_timm_model_equal_timms(name):
    """Oracle: ``timm.optim.param_groups_layer_decay`` for the same model with timm's own head."""
    from timm.optim import param_groups_layer_decay

    options = {"depth": 3} if name.startswith(("vit", "beit")) else {}
    whole = timm.create_model(name, num_classes=10, **options)
    spared = whole.no_weight_decay() if hasattr(whole, "no_weight_decay") else ()
    theirs = param_groups_layer_decay(whole, weight_decay=0.3, no_weight_decay_list=spared, layer_decay=0.75)
    expected = rates(whole, [{**group, "lr": 2.0 * group["lr_scale"]} for group in theirs])

    method = Method(build_backbone(f"timm/{name}", (3, 224, 224), **options))
    optim = OptimConfig(optimizer="AdamW", lr=2.0, weight_decay=0.3, layer_decay=0.75)
    ours = rates(method, build_optimizer(method, optim).param_groups)
    backbone = {each.removeprefix("backbone."): rate for each, rate in ours.items() if each.startswith("backbone.")}
    assert len(backbone) > 20
    for each, (lr, decay) in backbone.items():
        assert (lr, decay) == (pytest.approx(expected[each][0], rel=1e-12), expected[each][1]), each
    assert ours["head.weight"] == (2.0, 0.3)


def test_layers_of_our_vit_equal_mae():
    """Oracle: MAE's rule (He et al. 2022): patches 0, block i is i + 1, what follows them L + 1 = 13; rate d^(13 - layer)."""
    method = Method(build_backbone("vit_tiny", (3, 32, 32)))
    ours = rates(method, split_groups(method, lr=1e-3, weight_decay=0.05, layer_decay=0.65))
    layers = {"backbone.patches.weight": 0, "backbone.patches.bias": 0, "backbone.class_token": 0}
    layers |= {name: int(name.split(".")[2]) + 1 for name in ours if name.startswith("backbone.blocks.")}
    layers |= dict.fromkeys(["backbone.norm.weight", "backbone.norm.bias", "head.weight", "head.bias"], 13)
    assert layers.keys() == ours.keys()
    for name, (lr, decay) in ours.items():
        assert lr == pytest.approx(1e-3 * 0.65 ** (13 - layers[name]), rel=1e-12), name
        assert decay == (0.05 if name.endswith("weight") and "norm" not in name else 0.0), name


@pytest.mark.parametrize(
    ("name", "prefixes"),
    [
        ("resnet18", [("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",)]),
        ("resnet9", [("stem",), ("levels.0",), ("levels.1",), ("levels.2",), ("levels.3",), ("levels.4",)]),
    ],
)
def test_layers_of_resnet_are_its_stages(name, prefixes):
    backbone = build_backbone(name, (3, 32, 32))
    above = layers_above(backbone)
    assert above.keys() == dict(backbone.named_parameters()).keys()
    for parameter, number in above.items():
        layer = prefixes[len(prefixes) - number]
        assert any(parameter.startswith(f"{prefix}.") for prefix in layer), parameter


def test_frozen_backbone_has_no_groups():
    method = Method(build_backbone("resnet9", (3, 32, 32), width=4))
    assert len(build_optimizer(method, OptimConfig(optimizer="SGD", lr=0.1, weight_decay=0.1)).param_groups) == 2
    method.backbone.requires_grad_(False)
    groups = build_optimizer(
        method, OptimConfig(optimizer="SGD", lr=0.1, weight_decay=0.1, layer_decay=0.5)
    ).param_groups
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(0.1, 0.1), (0.1, 0.0)]


def test_no_weight_decay_of_submodules_is_respected():
    """timm's positions and class token are matrices, and no weights."""
    method = Method(build_backbone("timm/vit_tiny_patch16_224", (3, 224, 224), depth=1))
    ours = rates(method, split_groups(method, weight_decay=0.1))
    assert ours["backbone.pos_embed"][1] == ours["backbone.cls_token"][1] == 0.0
    assert ours["backbone.patch_embed.proj.weight"][1] == 0.1


def test_backbone_without_declared_layers_raises():
    own = nn.Sequential(nn.Linear(4, 4))
    own.num_features = 4
    with pytest.raises(ConfigError, match=r"optim\.layer_decay: Sequential does not declare .* layer_prefixes, e\.g\."):
        build_optimizer(Method(own), OptimConfig(optimizer="SGD", lr=0.1, layer_decay=0.5))
    with pytest.raises(ValueError, match=r"optim\.layer_decay=0\.5: Linear has no module called backbone"):
        build_optimizer(nn.Linear(2, 2), OptimConfig(optimizer="SGD", lr=0.1, layer_decay=0.5))


def test_layer_rates_follow_the_schedule(make_config, tiny_model):
    """The layers' rates and the weight decay of a run, at each step, against the schedule written out."""
    seen = []

    class Watched(tiny_model):
        def initialize_modules(self):
            super().initialize_modules()
            self.backbone.layer_prefixes = [("1",), ("2",)]

        def after_train_step(self):
            seen.append(rates(self, self.optimizer.param_groups))

    changes = {"layer_decay": 0.5, "weight_decay": 0.04, "weight_decay_end": 0.4}
    Watched(make_config(**{f"optim__{key}": value for key, value in changes.items()})).fit()
    assert len(seen) == 12
    for step, found in enumerate(seen):
        half_cosine = (1 + torch.cos(torch.tensor(torch.pi * step / 12, dtype=torch.float64)).item()) / 2
        assert found["head.weight"] == pytest.approx((0.1 * half_cosine, 0.4 - 0.36 * half_cosine), rel=1e-9)
        assert found["backbone.2.weight"] == pytest.approx((0.05 * half_cosine, 0.0), rel=1e-9)
        assert found["backbone.1.weight"] == pytest.approx((0.025 * half_cosine, 0.4 - 0.36 * half_cosine), rel=1e-9)
