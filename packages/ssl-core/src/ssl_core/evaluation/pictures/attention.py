"""Attention maps of vision transformers: attention of the class token to the patches."""

from typing import Any

import torch
from torch import Tensor, nn

from ssl_core.modules.transformer.rotary import rotate


def has_attention(backbone: Any) -> bool:
    """Return whether :func:`class_attention` knows the blocks of a backbone: ours, and those of timm's ViT and DeiT."""
    blocks = getattr(backbone, "blocks", None)
    return hasattr(backbone, "grid") and blocks is not None and _projection(blocks[-1]) is not None


@torch.no_grad()
def class_attention(backbone: Any, images: Tensor, block: int = -1) -> Tensor:
    r"""Return the attention of the class token to the patches in one block, for each head: ``(N, heads, h, w)`` float32.

    .. math:: \operatorname{softmax}(q k^\top / \sqrt{d})

    with the query q of the class token, and the keys k of all tokens. For a backbone without a class token it is the mean over
    the queries of the patches. The attention to the class token itself and to registers is left out: a map sums to less than 1.

    Parameters
    ----------
    backbone : Module
        :class:`~ssl_core.backbones.vit.VisionTransformer`, or a ViT of timm from ``build_backbone``, in
        evaluation mode.
    images : Tensor
        ``(N, C, H, W)`` float, normalised as in training.
    block : int
        Number of the block; negative numbers count from the end.

    Raises
    ------
    ValueError
        If the attention of the backbone cannot be read.

    References
    ----------
    Caron et al. 2021 (DINO), https://arxiv.org/abs/2104.14294.
    """
    layer: Any = backbone.blocks[block] if has_attention(backbone) else None
    projection = _projection(layer)
    if projection is None:
        name = type(backbone).__name__
        raise ValueError(f"backbone: expected a vision transformer, such as vit_tiny or timm/vit_..., got {name}")
    found: dict[str, Any] = {}
    handles = [
        layer.register_forward_pre_hook(lambda _, given: found.update(given=given)),
        projection.register_forward_hook(lambda _, __, output: found.update(qkv=output)),
    ]
    try:
        backbone(images)
    finally:
        for handle in handles:
            handle.remove()
    weights = _weights(layer, found["qkv"], found["given"])
    has_class_token = getattr(backbone, "class_token", getattr(backbone, "cls_token", None)) is not None
    prefix = backbone.num_prefix_tokens
    queries = weights[:, :, 0] if has_class_token else weights[:, :, prefix:].mean(2)
    side = getattr(backbone, "patch_size", 1)
    return queries[:, :, prefix:].unflatten(2, (images.shape[2] // side, images.shape[3] // side))


def _projection(block: Any) -> nn.Module | None:
    """Return the layer whose output are queries, keys and values, each of the heads in turn; None of an unknown block."""
    owner = getattr(block, "attn", block)
    has_parts = hasattr(owner, "num_heads") and isinstance(getattr(owner, "qkv", None), nn.Linear)
    return owner.qkv if has_parts else None


def _weights(block: Any, qkv: Tensor, given: tuple[Any, ...]) -> Tensor:
    """Return the attention ``(N, heads, L, L)`` of a block from its projection ``(N, L, 3 D)`` and its arguments."""
    owner = getattr(block, "attn", block)
    q, k = (part.unflatten(2, (owner.num_heads, -1)).transpose(1, 2) for part in qkv.chunk(3, dim=2)[:2])
    if hasattr(owner, "q_norm"):  # timm
        q, k = owner.q_norm(q), owner.k_norm(k)
    rotation = given[2] if owner is block and len(given) > 2 else None
    if rotation is not None:
        q, k = rotate(q, rotation), rotate(k, rotation)
    scores = q.float() @ k.float().transpose(2, 3) / q.shape[-1] ** 0.5
    if getattr(block, "causal", False):
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, float("-inf"))
    return scores.softmax(dim=3)
