"""Base class of the methods that mask patches of a ViT."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ssl_core.config import ModelConfig, option
from ssl_core.errors import ConfigError
from ssl_core.methods.backbone_method import BackboneMethod
from ssl_core.modules.transformer.blocks import MaskToken


@dataclass
class PatchConfig(ModelConfig):
    """Keys of the methods that choose the patches that a ViT sees."""

    backbone: str = option("vit_tiny")  # a ViT of ours, or one of timm

    def check(self) -> None:
        """Raise a ConfigError for a decoder or predictor whose width its attention heads do not divide."""
        super().check()
        for part in ("decoder", "predictor"):
            width, heads = getattr(self, f"{part}_width", 0), getattr(self, f"{part}_heads", 1)
            if width % heads or width % 4:
                raise ConfigError(
                    key=f"model.{part}_width",
                    value=width,
                    expected=f"a multiple of 4 and of model.{part}_heads={heads}",
                )


@dataclass
class MaskedImageConfig(PatchConfig):
    """Keys of the methods that mask a share of the patches."""

    mask_ratio: float = option(0.75, low=0.0, below=1.0)  # share of patches that are masked


class MaskedImageModel(BackboneMethod):
    """A method that masks patches of the view of each image."""

    config_class: type[PatchConfig] = PatchConfig
    num_views: ClassVar[int | None] = 1
    needs_tokens = True

    def tokens(self, images: Tensor, **options: Any) -> Tensor:
        """Return ``backbone.tokens(images, **options)``, ``(N, P + K, D)``. The online probe learns from their feature.

        It is the feature of an image with masked patches: that of the whole image would cost another forward pass.
        """
        tokens = self.backbone.tokens(images, **options)
        self.probes.observe("backbone", pooled(self.backbone, tokens))
        return tokens

    def patch_tokens(self, tokens: Tensor) -> Tensor:
        """Return the tokens of the patches ``(N, L, D)`` among all tokens ``(N, P + L, D)``."""
        return tokens[:, self.backbone.num_prefix_tokens :]


class MaskTokenModel(MaskedImageModel):
    """A method that replaces masked patches by a mask token, and encodes all patches."""

    def initialize_modules(self) -> None:
        """Create the backbone and the mask token."""
        super().initialize_modules()
        self.mask_token = MaskToken(self.backbone.num_features)

    def encode_masked(self, images: Tensor, mask: Tensor) -> Tensor:
        """Return the tokens of the patches ``(N, L, D)`` of images whose patches ``mask`` ``(N, L) bool`` are replaced."""
        return self.patch_tokens(self.tokens(images, mask=mask, mask_token=self.mask_token()))


def pooled(backbone: Any, tokens: Tensor) -> Tensor:
    """Return the feature ``(N, D)`` of all tokens ``(N, P + L, D)``, as a forward pass of the backbone does."""
    return backbone.forward_head(tokens) if hasattr(backbone, "forward_head") else backbone.pool(tokens)  # timm, ours


def take(patches: Tensor, indices: Tensor) -> Tensor:
    """Return the patches ``(N, K, D)`` of indices ``(N, K) int64`` among patches ``(N, L, D)``."""
    return patches.gather(1, indices[..., None].expand(-1, -1, patches.shape[2]))


def all_masked(patches: Tensor) -> Tensor:
    """Return a mask for a loss that gets masked patches ``(N, M, D)`` only: ``(N, M) bool``, all True."""
    return torch.ones(patches.shape[:2], dtype=torch.bool, device=patches.device)
