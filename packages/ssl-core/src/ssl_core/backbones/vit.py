"""A small Vision Transformer (Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929)."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core.errors import ConfigError

Pool = Literal["class", "mean"]


class VisionTransformer(nn.Module):
    """Patches, fixed positions, pre-norm transformer blocks, one pooled feature (Dosovitskiy et al. 2021).

    Positions are the fixed two-dimensional sines and cosines of MoCo v3 (Chen, Xie & He 2021), without parameters. Linear
    layers, including that of the patches, start Xavier-uniform with zero biases, as in MAE (He et al. 2022).

    Parameters
    ----------
    image_shape : tuple of int
        ``(C, H, W)``; ``patch_size`` divides H and W.
    patch_size : int
        Side p of a patch in pixels; there are L = (H / p) (W / p) patches.
    width : int
        D, a multiple of 4 and of ``num_heads``. ``num_features`` is D.
    depth, num_heads : int
        Blocks, and attention heads in each. The hidden layer of a block has 4 D units.
    pool : {"class", "mean"}
        What the feature is: the class token, or the mean of the patches (then there is no class token).
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        patch_size: int,
        width: int,
        depth: int,
        num_heads: int,
        pool: Pool = "class",
    ) -> None:
        super().__init__()
        channels, height, widthwise = image_shape
        self.image_shape = image_shape
        self.num_features = width
        self.patches = nn.Conv2d(channels, width, patch_size, stride=patch_size)
        # One-dimensional, so that the optimizers count it among the biases: never decayed, as in the field.
        self.class_token = nn.Parameter(torch.zeros(width)) if pool == "class" else None
        self.blocks = nn.Sequential(*(Block(width, num_heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.layer_prefixes = [("patches", "class_token"), *((f"blocks.{block}",) for block in range(depth))]
        self.positions: Tensor
        positions = sine_cosine_positions(height // patch_size, widthwise // patch_size, width)
        self.register_buffer("positions", positions, persistent=False)
        self._initialize()

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.patches.weight.flatten(1))  # a view: each patch is one linear layer
        nn.init.zeros_(self.patches.bias)  # type: ignore[arg-type]
        if self.class_token is not None:
            nn.init.normal_(self.class_token, std=0.02)

    def tokens(self, x: Tensor) -> Tensor:
        """Return all tokens after the last norm, ``(N, L, D)``, or ``(N, 1 + L, D)`` with the class token first."""
        if x.shape[1:] != self.image_shape:
            raise ValueError(
                f"expected images {self.image_shape}, received {tuple(x.shape[1:])}: a ViT takes one size only"
            )
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        if self.class_token is not None:
            tokens = torch.cat([self.class_token.expand(len(x), 1, -1).to(tokens.dtype), tokens], dim=1)
        return self.norm(self.blocks(tokens))

    def forward(self, x: Tensor) -> Tensor:
        """Return features ``(N, D)`` of images ``(N, C, H, W)``."""
        tokens = self.tokens(x)
        return tokens.mean(1) if self.class_token is None else tokens[:, 0]


class Block(nn.Module):
    """``x + attention(norm(x))``, then ``x + mlp(norm(x))``; ``(N, L, D)`` to ``(N, L, D)``."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.out(self.attend(self.norm1(x)))
        return x + self.mlp(self.norm2(x))

    def attend(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        q, k, v = self.qkv(x).view(n, length, 3, self.num_heads, width // self.num_heads).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, width)


def sine_cosine_positions(rows: int, columns: int, width: int) -> Tensor:
    """Return the positions of a grid of patches, row by row: ``(rows * columns, width) float32``.

    A quarter of the width each: sine and cosine of the column, then of the row, at frequencies from 1 to 1 / 10,000.
    """
    frequencies = 10_000 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    row = (torch.arange(rows, dtype=torch.float64)[:, None] * frequencies).repeat_interleave(columns, dim=0)
    column = (torch.arange(columns, dtype=torch.float64)[:, None] * frequencies).repeat(rows, 1)
    return torch.cat([column.sin(), column.cos(), row.sin(), row.cos()], dim=1).float()


def fitting_patch_size(height: int, width: int) -> int | None:
    """Return the largest of 16, 8, 4, 2, 1 that divides both sides and leaves at least 8 patches on the shorter one.

    4 at 32 pixels, 8 at 64 and 96, 16 at 224; 1 only up to 16 pixels, where it is cheap; None where nothing fits.
    """
    for size in (16, 8, 4, 2, 1):
        if (
            height % size == width % size == 0
            and min(height, width) >= 8 * size
            and (size > 1 or max(height, width) <= 16)
        ):
            return size
    return None


def _vit(
    name: str, image_shape: tuple[int, int, int], width: int, num_heads: int, patch_size: int | None, pool: Pool
) -> VisionTransformer:
    _, height, widthwise = image_shape
    size = fitting_patch_size(height, widthwise) if patch_size is None else patch_size
    if size is None:
        raise ConfigError(
            f"no patch size of 16, 8, 4 or 2 pixels divides {height} x {widthwise} into at least 8 patches a side",
            key="model.backbone",
            value=name,
            expected="model.backbone_options.patch_size, or resized images",
        )
    if height % size or widthwise % size:
        raise ConfigError(
            key="model.backbone_options.patch_size",
            value=size,
            expected=f"an integer that divides both sides of the image, {height} x {widthwise}",
        )
    return VisionTransformer(image_shape, size, width, 12, num_heads, pool)


def vit_tiny(
    name: str, image_shape: tuple[int, int, int], *, patch_size: int | None = None, pool: Pool = "class"
) -> VisionTransformer:
    """Return the ViT-Ti of DeiT (Touvron et al. 2021): 12 blocks of width 192, 3 heads."""
    return _vit(name, image_shape, 192, 3, patch_size, pool)


def vit_small(
    name: str, image_shape: tuple[int, int, int], *, patch_size: int | None = None, pool: Pool = "class"
) -> VisionTransformer:
    """Return the ViT-S of DeiT (Touvron et al. 2021): 12 blocks of width 384, 6 heads."""
    return _vit(name, image_shape, 384, 6, patch_size, pool)
