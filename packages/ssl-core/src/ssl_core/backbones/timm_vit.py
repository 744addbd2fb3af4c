"""Masks, chosen blocks and feature maps of timm's Vision Transformers, with the interface of ours."""

from collections.abc import Sequence
from types import MethodType
from typing import Any

import torch
from torch import Tensor

MODULES = ("timm.models.vision_transformer", "timm.models.deit")  # of the models whose class has these parts


def add_vit_methods(model: Any) -> None:
    """Give a Vision Transformer of timm the interface of :class:`~ssl_core.backbones.vit.VisionTransformer`.

    That is ``tokens``, ``intermediate_tokens``, ``patch_embeddings``, ``forward_dense``, ``grid`` and ``patch_size``. Other
    models, and patches that are not square, stay as they are: their attention or positions have no place for a mask. Methods
    are bound to the model, and not defined on a wrapper, so that its weights keep timm's names.
    """
    from timm.models.vision_transformer import VisionTransformer

    if not isinstance(model, VisionTransformer) or len(set(model.patch_embed.patch_size)) > 1:
        return
    model.patch_size, model.grid = model.patch_embed.patch_size[0], model.patch_embed.grid_size
    for function in (tokens, intermediate_tokens, patch_embeddings, forward_dense):
        setattr(model, function.__name__, MethodType(function, model))


def tokens(
    model: Any,
    x: Tensor,
    keep: Tensor | None = None,
    mask: Tensor | None = None,
    mask_token: Tensor | None = None,
    attend: Tensor | None = None,
) -> Tensor:
    """Return all tokens after the last norm, as :meth:`ssl_core.backbones.vit.VisionTransformer.tokens`."""
    x = _embed(model, x, keep, mask, mask_token)
    for block in model.blocks:
        x = block(x) if attend is None else block(x, attn_mask=attend)
    return model.norm(x)


def intermediate_tokens(
    model: Any,
    x: Tensor,
    blocks: Sequence[int],
    keep: Tensor | None = None,
    mask: Tensor | None = None,
    mask_token: Tensor | None = None,
) -> list[Tensor]:
    """Return the tokens after the chosen blocks, before the last norm."""
    x, outputs = _embed(model, x, keep, mask, mask_token), []
    for block in model.blocks:
        x = block(x)
        outputs.append(x)
    return [outputs[block] for block in blocks]


def patch_embeddings(model: Any, x: Tensor) -> Tensor:
    """Return the projected patches of images ``(N, C, H, W)``, without positions: ``(N, L, D)``."""
    patches = model.patch_embed(x)
    return patches.view(len(x), -1, patches.shape[-1])


def forward_dense(model: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the features ``(N, D)`` and the feature map ``(N, D, h, w)``."""
    everything = model.forward_features(x)
    patches = everything[:, model.num_prefix_tokens :].transpose(1, 2)
    grid = [side // model.patch_size for side in x.shape[2:]]
    return model.forward_head(everything), patches.unflatten(2, grid)


def _embed(model: Any, x: Tensor, keep: Tensor | None, mask: Tensor | None, mask_token: Tensor | None) -> Tensor:
    """Return the input of the first block."""
    x = model.patch_embed(x)  # (N, L, D), or (N, h, w, D) with dynamic_img_size
    if mask is not None:
        if mask_token is None:
            raise ValueError("mask without mask_token: expected both")
        x = torch.where(mask.view(*x.shape[:-1], 1), mask_token.to(x.dtype), x)
    x = model._pos_embed(x)
    if keep is not None:
        prefix = model.num_prefix_tokens
        kept = x[:, prefix:].gather(1, keep[..., None].expand(-1, -1, x.shape[2]))
        x = torch.cat([x[:, :prefix], kept], dim=1)
    return model.norm_pre(x)
