"""Backbones by name: torchvision's own with the ImageNet stem; stems, patches and channels that fit the image."""

import sys

import pytest
import torch
from torch import nn

from ssl_core.backbones import backbone_names, build_backbone, check_backbone
from ssl_core.backbones.named_vits import fitting_patch_size
from ssl_core.backbones.vit import VisionTransformer
from ssl_core.errors import ConfigError
from ssl_core.modules.transformer.blocks import sine_cosine_positions


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# ---------------------------------------------------------------------------------------------------------- contract


@pytest.mark.parametrize("name", ["resnet9", "resnet18", "vit_tiny"])
@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 32, 32), (3, 96, 96), (4, 64, 128)])
def test_every_kind_takes_every_shape(name, shape):
    options = {"width": 8} if name == "resnet9" else {}
    backbone = build_backbone(name, shape, **options).eval()
    with torch.no_grad():
        features = backbone(torch.randn(2, *shape))
    assert features.shape == (2, backbone.num_features)
    assert isinstance(backbone.num_features, int)
    assert features.isfinite().all()


@pytest.mark.parametrize("name", backbone_names())
def test_every_name_builds_and_knows_its_width(name):
    with torch.device("meta"):  # no memory and no time: the shape of the result is all
        backbone = build_backbone(name, (3, 32, 32))
        assert backbone(torch.zeros(2, 3, 32, 32)).shape == (2, backbone.num_features)


def test_large_images_are_taken_too():
    for name, options in (("resnet9", {"width": 8}), ("resnet18", {}), ("vit_tiny", {})):
        backbone = build_backbone(name, (3, 224, 224), **options).eval()
        with torch.no_grad():
            assert backbone(torch.zeros(1, 3, 224, 224)).shape == (1, backbone.num_features)


@pytest.mark.parametrize("name", ["resnet9", "resnet18", "vit_tiny"])
def test_every_parameter_learns(name):
    """Two steps, for behind a zero gamma there is a gradient only once it has moved; a dead branch never has one."""
    backbone = build_backbone(name, (3, 32, 32), **({"width": 8} if name == "resnet9" else {}))
    optimizer = torch.optim.SGD(backbone.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        backbone(torch.randn(4, 3, 32, 32)).square().mean().backward()
        optimizer.step()
    silent = [name for name, parameter in backbone.named_parameters() if not parameter.grad.any()]
    assert silent == []


@pytest.mark.parametrize("name", ["resnet9", "resnet18", "vit_tiny"])
def test_same_seed_gives_the_same_weights(name):
    def build() -> nn.Module:
        torch.manual_seed(3)
        return build_backbone(name, (3, 16, 16), **({"width": 8} if name == "resnet9" else {}))

    one, other = build(), build().to(memory_format=torch.channels_last)
    for mine, its in zip(one.state_dict().values(), other.state_dict().values()):
        assert torch.equal(mine, its)
    x = torch.randn(8, 3, 16, 16)
    plain = one(x)
    last = other(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, plain, rtol=1e-3, atol=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        narrow = build()(x)
    assert torch.cosine_similarity(narrow.float(), plain).min() > 0.99


# ------------------------------------------------------------------------------------------------------- torchvision


def test_names_contain_torchvisions_resnets():
    pytest.importorskip("torchvision")
    assert {"resnet18", "resnext50_32x4d", "wide_resnet101_2"} < set(backbone_names())


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_imagenet_stem_equals_torchvision(name):
    resnet = pytest.importorskip("torchvision.models.resnet")
    backbone = build_backbone(name, (3, 65, 65))
    theirs = getattr(resnet, name)(num_classes=7)
    missing, unexpected = theirs.load_state_dict(backbone.state_dict(), strict=False)
    assert (set(missing), unexpected) == ({"fc.weight", "fc.bias"}, [])
    assert num_parameters(backbone) == num_parameters(theirs) - num_parameters(theirs.fc)
    theirs.fc = nn.Identity()
    x = torch.randn(2, 3, 65, 65)
    assert torch.equal(backbone.eval()(x), theirs.eval()(x))


def test_small_stem_keeps_the_resolution_up_to_64_pixels():
    for side, stem, sizes in ((64, (3, 3), 64), (65, (7, 7), 17)):
        backbone = build_backbone("resnet18", (3, side, side))
        assert backbone.conv1.kernel_size == stem
        seen = []
        backbone.layer1.register_forward_hook(
            lambda module, inputs, output, seen=seen: seen.append(inputs[0].shape[-1])
        )
        backbone(torch.randn(2, 3, side, side))
        assert seen == [sizes]
    # 11,173,962 is the well-known size of the CIFAR ResNet-18 with its 10 classes (5,130)
    assert num_parameters(build_backbone("resnet18", (3, 32, 32))) == 11_173_962 - 5_130


def test_residual_branches_start_at_zero_by_default():
    assert not build_backbone("resnet18", (3, 32, 32)).layer1[0].bn2.weight.any()
    assert build_backbone("resnet18", (3, 32, 32), zero_init_residual=False).layer1[0].bn2.weight.all()


def test_other_channels_start_as_wide_as_torchvisions():
    for shape in ((1, 32, 32), (5, 224, 224)):
        weight = build_backbone("resnet18", shape).conv1.weight
        assert weight.shape[1] == shape[0]
        fan_out = 64 * weight[0, 0].numel()
        assert weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)


# ----------------------------------------------------------------------------------------------------------- resnet9


def test_resnet9_has_pages_number_of_parameters():
    # 6,573,120 with the linear layer of 512 x 10 weights
    assert num_parameters(build_backbone("resnet9", (3, 32, 32))) == 6_573_120 - 5_120


def test_resnet9_is_its_layers_one_after_the_other():
    backbone = build_backbone("resnet9", (3, 32, 32), width=4).eval()
    convolutions = iter([module for module in backbone.modules() if isinstance(module, nn.Conv2d)])

    def layer(x, pool=False):  # in evaluation, a fresh batch normalisation divides by sqrt(1 + 1e-5)
        x = nn.functional.conv2d(x, next(convolutions).weight, padding=1).div((1 + 1e-5) ** 0.5).relu()
        return nn.functional.max_pool2d(x, 2) if pool else x

    def residual(x):
        return x + layer(layer(x))

    images = torch.randn(2, 3, 32, 32)
    x = residual(layer(layer(images), pool=True))
    x = residual(layer(layer(x, pool=True), pool=True))
    features, weight = x.amax((2, 3)), backbone.stem[0][0].weight
    torch.testing.assert_close(backbone(images), features)
    gradients = [torch.autograd.grad(each.square().sum(), weight)[0] for each in (backbone(images), features)]
    torch.testing.assert_close(*gradients)


# --------------------------------------------------------------------------------------------------------------- ViT


def to_torchvision(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Name the weights of our ViT as torchvision's does."""
    positions = state.pop("positions")
    mapped = {
        "class_token": state.pop("class_token")[None, None],
        "encoder.pos_embedding": torch.cat([torch.zeros(1, 1, positions.shape[1]), positions[None]], dim=1),
    }
    names = {
        "patches": "conv_proj",
        "norm.": "encoder.ln.",
        ".norm1": ".ln_1",
        ".norm2": ".ln_2",
        ".qkv.": ".self_attention.in_proj_",
        ".out.": ".self_attention.out_proj.",
        ".mlp.2": ".mlp.3",
        "blocks.": "encoder.layers.encoder_layer_",
    }
    for name, value in state.items():
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        mapped[name] = value
    return mapped


def test_vit_equals_torchvisions_with_the_same_weights():
    vision_transformer = pytest.importorskip("torchvision.models.vision_transformer")
    ours = VisionTransformer((3, 32, 32), patch_size=4, width=24, depth=2, num_heads=3)
    theirs = vision_transformer.VisionTransformer(32, 4, num_layers=2, num_heads=3, hidden_dim=24, mlp_dim=96)
    theirs.heads = nn.Identity()
    for parameter in ours.parameters():  # biases and scales that matter
        nn.init.normal_(parameter, std=0.3)
    theirs.load_state_dict(to_torchvision({**ours.state_dict(), "positions": ours.positions}))
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(ours(x), theirs.eval()(x), rtol=1e-4, atol=1e-5)


def test_vit_has_as_many_parameters_as_deit():
    # DeiT-Ti and -S at 224: 5,717,416 and 22,050,664 with 1000 classes and 197 learned positions
    sizes = ("vit_tiny", 5_717_416, 192), ("vit_small", 22_050_664, 384), ("vit_base", 86_567_656, 768)
    for name, deit, width in sizes:
        with torch.device("meta"):
            backbone = build_backbone(name, (3, 224, 224))
        assert num_parameters(backbone) == deit - 1000 * (width + 1) - 197 * width


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [
        (8, 8, 1),
        (16, 16, 2),
        (28, 28, 2),
        (32, 32, 4),
        (64, 64, 8),
        (96, 96, 8),
        (224, 224, 16),
        (32, 64, 4),
        (512, 512, 16),
    ],
)
def test_patch_size_fits_the_image(height, width, size):
    assert fitting_patch_size(height, width) == size
    assert build_backbone("vit_tiny", (1, height, width)).patches.kernel_size == (size, size)


def test_positions_differ_and_a_shift_is_the_same_everywhere():
    positions = sine_cosine_positions(5, 7, 32)
    similarity = positions @ positions.T
    assert torch.equal(similarity.argmax(1), torch.arange(35))
    grid = similarity.view(5, 7, 5, 7)
    torch.testing.assert_close(grid[0, 0, 1, 2], grid[3, 4, 4, 6])  # one row down, two columns on


def test_positions_change_features_and_are_not_saved():
    backbone = build_backbone("vit_tiny", (3, 32, 32), pool="mean").eval()
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert not torch.allclose(backbone(x), backbone(x.roll(4, dims=3)), atol=1e-3)
        backbone.positions.zero_()
        torch.testing.assert_close(backbone(x), backbone(x.roll(4, dims=3)), rtol=1e-3, atol=1e-4)
    assert not any("positions" in name or "class_token" in name for name in backbone.state_dict())


def test_pool_is_the_class_token_or_the_mean_of_the_patches():
    x = torch.randn(2, 3, 32, 32)
    first, mean = build_backbone("vit_tiny", (3, 32, 32)), build_backbone("vit_tiny", (3, 32, 32), pool="mean")
    assert first.tokens(x).shape == (2, 65, 192)
    assert mean.tokens(x).shape == (2, 64, 192)
    assert torch.equal(first(x), first.tokens(x)[:, 0])
    assert torch.equal(mean(x), mean.tokens(x).mean(1))


def test_vit_starts_as_documented():
    backbone = build_backbone("vit_tiny", (3, 32, 32))
    for weight in (backbone.patches.weight.flatten(1), backbone.blocks[3].mlp[0].weight):
        bound = (6 / sum(weight.shape)) ** 0.5
        assert 0.98 * bound < weight.abs().max() <= bound
    assert backbone.class_token.std().item() == pytest.approx(0.02, rel=0.3)
    assert backbone.class_token.ndim == 1  # so that the optimizers do not decay it


# ------------------------------------------------------------------------------------------------------------ errors


def error_of(call, *arguments, **options):
    with pytest.raises(ConfigError) as caught:
        call(*arguments, **options)
    return caught.value


@pytest.mark.parametrize(
    ("name", "shape", "options", "key"),
    [
        ("resnet9", (3, 7, 32), {}, "model.backbone"),
        ("resnet9", (32, 32), {}, "image_shape"),
        ("vit_tiny", (3, 33, 33), {}, "model.backbone"),
        ("vit_tiny", (3, 32, 32), {"patch_size": 5}, "model.backbone_options.patch_size"),
        ("vit_tiny", (3, 32, 32), {"width": 100}, "model.backbone_options.width"),
    ],
)
def test_image_that_does_not_fit_raises(name, shape, options, key):
    assert error_of(build_backbone, name, shape, **options).key == key


@pytest.mark.parametrize(
    ("name", "options", "suggestion"),
    [
        ("resnet9", {"widht": 8}, "width"), ("resnet9", {"width": 0}, None), ("resnet9", {"width": "8"}, None),
        ("resnet9", {"width": True}, None), ("resnet18", {"zero_init_residual": 1}, None), ("resnet18", {"width": 8}, None),
        ("vit_tiny", {"pool": "max"}, None), ("vit_tiny", {"patch_size": 0}, None),
        ("vit_tiny", {"registers": -1}, None), ("vit_tiny", {"drop_path": -0.1}, None), ("vit_tiny", {"depth": 0}, None),
    ],
)  # fmt: skip
def test_wrong_option_raises_before_there_are_images(name, options, suggestion):
    (option,) = options
    for error in (error_of(check_backbone, name, options), error_of(build_backbone, name, (3, 32, 32), **options)):
        assert (error.key, error.suggestion) == (f"model.backbone_options.{option}", suggestion)
    check_backbone("vit_tiny", {"patch_size": None, "pool": "mean", "registers": 0, "drop_path": 0.1, "width": 24})


def test_unknown_name_without_timm_suggests_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)  # as if it were not installed
    error = error_of(check_backbone, "resnet19")
    assert (error.key, error.value, error.suggestion) == ("model.backbone", "resnet19", "resnet18")
    assert "pip install timm" in error.expected
    check_backbone("resnet18")


# -------------------------------------------------------------------------------------------------------------- timm


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "timm/resnet18", "mobilenetv3_small_050", "convnext_atto"])
def test_any_timm_name_is_a_backbone(name):
    pytest.importorskip("timm")
    check_backbone(name)
    backbone = build_backbone(name, (1, 64, 64))
    assert backbone.training
    assert backbone(torch.randn(2, 1, 64, 64)).shape == (2, backbone.num_features)


def test_name_of_timms_weights_is_a_backbone():
    pytest.importorskip("timm")
    for name in ("resnet18.tv_in1k", "vit_tiny_patch16_224_in21k"):  # the second: a deprecated name
        check_backbone(name)


def test_timm_names_and_options_are_checked():
    pytest.importorskip("timm")
    assert error_of(check_backbone, "resnet19").suggestion == "resnet18"
    assert error_of(build_backbone, "timm/resnet19", (3, 32, 32)).suggestion.startswith("timm/resnet1")
    assert "nonsense" in error_of(build_backbone, "timm/resnet18", (3, 32, 32), nonsense=1).reason
    assert error_of(build_backbone, "vit_tiny_patch16_224", (3, 8, 8)).key == "model.backbone"
