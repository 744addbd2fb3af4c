"""Features and feature map of one forward pass, under one name for every backbone."""

import pytest
import torch

from ssl_core.backbones import build_backbone

# name, image side -> side of the map, how it is pooled
MAPS = {
    ("resnet9", 32): (4, lambda cells: cells.amax((2, 3))),
    ("resnet18", 32): (4, lambda cells: cells.mean((2, 3))),
    ("resnet18", 96): (3, lambda cells: cells.mean((2, 3))),
    ("vit_tiny", 32): (8, None),
}


@pytest.mark.parametrize(("name", "side"), MAPS)
def test_feature_map_belongs_to_the_features(name, side):
    """Oracle: the backbone's forward pass, and its pooling written here."""
    cells, pool = MAPS[name, side]
    options = {"pool": "mean"} if pool is None else {}
    backbone, images = build_backbone(name, (3, side, side), **options).eval(), torch.randn(2, 3, side, side)
    features, feature_map = backbone.forward_dense(images)
    torch.testing.assert_close(features, backbone(images))
    assert feature_map.shape == (2, backbone.num_features, cells, cells)
    torch.testing.assert_close(features, (pool or (lambda cells: cells.mean((2, 3))))(feature_map))


@pytest.mark.parametrize("name", ["timm/resnet10t", "timm/convnext_atto"])
def test_convolutional_models_of_timm_have_feature_maps(name):
    """Oracle: timm's forward and forward_features."""
    backbone, images = build_backbone(name, (3, 64, 64)).eval(), torch.randn(2, 3, 64, 64)
    features, feature_map = backbone.forward_dense(images)
    torch.testing.assert_close(features, backbone(images))
    torch.testing.assert_close(feature_map, backbone.forward_features(images))
    assert feature_map.shape == (2, backbone.num_features, 2, 2)


def test_models_without_a_map_of_their_features_have_none():
    """Swin has its channels last, and MobileNetV3 a layer between the map and the feature."""
    assert not hasattr(build_backbone("timm/swin_tiny_patch4_window7_224", (3, 64, 64), depths=(1, 1)), "forward_dense")
    assert not hasattr(build_backbone("timm/mobilenetv3_small_050", (3, 64, 64)), "forward_dense")


def test_cell_of_the_map_is_where_the_image_changes():
    """Patches are in rows and columns, not the other way round."""
    vit = build_backbone("vit_tiny", (3, 16, 32), patch_size=8, depth=1)
    images = torch.zeros(1, 3, 16, 32)
    changed = images.clone()
    changed[:, :, 8:, 16:24] = 1  # row 1, column 2
    difference = (vit.embed(changed) - vit.embed(images))[:, 1:].abs().sum(2).view(2, 4)
    assert difference.nonzero().tolist() == [[1, 2]]
    assert vit.forward_dense(images)[1].shape == (1, 192, 2, 4)
