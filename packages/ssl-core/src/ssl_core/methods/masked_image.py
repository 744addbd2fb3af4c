"""Base class of the methods that mask patches of a ViT."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_core.config import ModelConfig, option
from ssl_core.errors import ConfigError
from ssl_core.methods.backbone_method import BackboneMethod


@dataclass
class MaskedImageConfig(ModelConfig):
    """Keys of the methods that mask patches."""

    backbone: str = option("vit_tiny")  # a ViT of ours, or one of timm
    mask_ratio: float = option(0.75, low=0.0, below=1.0)  # share of patches that are masked


class MaskedImageModel(BackboneMethod):
    """A method that masks patches of the first view of each image."""

    config_class = MaskedImageConfig

    def initialize_modules(self) -> None:
        """Create the backbone, which must be a ViT."""
        super().initialize_modules()
        if not hasattr(self.backbone, "tokens"):
            raise ConfigError(
                f"model.name={self.config.model.name!r} masks patches",
                key="model.backbone",
                value=self.config.model.backbone,
                expected="a ViT, e.g. 'vit_tiny' or 'vit_small'",
            )

    def patch_tokens(self, tokens: Tensor) -> Tensor:
        """Return the tokens of the patches ``(N, L, D)`` among all tokens ``(N, P + L, D)``."""
        return tokens[:, self.backbone.num_prefix_tokens :]


def take(patches: Tensor, indices: Tensor) -> Tensor:
    """Return the patches ``(N, K, D)`` of indices ``(N, K) int64`` among patches ``(N, L, D)``."""
    return patches.gather(1, indices[..., None].expand(-1, -1, patches.shape[2]))


def all_masked(patches: Tensor) -> Tensor:
    """Return a mask for a loss that gets masked patches ``(N, M, D)`` only: ``(N, M) bool``, all True."""
    return torch.ones(patches.shape[:2], dtype=torch.bool, device=patches.device)
