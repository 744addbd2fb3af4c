"""Parts of the methods that compare the cells of feature maps."""

from typing import Any

import torch
from torch import Tensor

from ssl_core.errors import ConfigError


def check_feature_map(model: Any) -> None:
    """Raise a ConfigError for a backbone without a feature map."""
    if not hasattr(model.backbone, "forward_dense"):
        raise ConfigError(
            f"model.name={model.config.model.name!r} compares the cells of feature maps",
            key="model.backbone",
            value=model.config.model.backbone,
            expected="a ResNet or a ViT, e.g. 'resnet18', 'vit_tiny' or 'timm/vit_small_patch16_224'",
        )


def cell_locations(crops: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return where in the stored image the centre of each cell of a feature map lies, ``(N, h, w, 2)`` (y, x) in pixels.

    Parameters
    ----------
    crops : Tensor
        ``(N, 5)``: top, left, height, width and flip of the view, see :class:`ssl_core.batch.CroppedBatch`.
    grid : tuple of int
        Rows and columns of the feature map.
    """
    top, left, height, width, flip = crops.unbind(1)
    down, across = ((torch.arange(count, device=crops.device) + 0.5) / count for count in grid)
    across = torch.where(flip[:, None].bool(), 1 - across, across)  # (N, w)
    y, x = top[:, None] + height[:, None] * down, left[:, None] + width[:, None] * across
    return torch.stack([y[:, :, None].expand(-1, -1, grid[1]), x[:, None].expand(-1, grid[0], -1)], dim=3)
