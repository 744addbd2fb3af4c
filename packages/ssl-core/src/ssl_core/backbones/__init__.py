"""Backbones by name: images ``(N, C, H, W)`` in, features ``(N, num_features)`` out."""

from ssl_core.backbones.registry import (
    backbone_names,
    backbone_size,
    build_backbone,
    check_backbone,
    is_of_timm,
)

__all__ = ["backbone_names", "backbone_size", "build_backbone", "check_backbone", "is_of_timm"]
