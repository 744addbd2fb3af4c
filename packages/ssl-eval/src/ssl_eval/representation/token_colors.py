"""Patch tokens as colours: their first three principal components as red, green and blue."""

import torch
from torch import Tensor

from ssl_eval.representation.projection_2d import principal_components

TAIL = 0.01  # share of the values at either end that have the extreme colour


@torch.no_grad()
def token_colors(tokens: Tensor) -> Tensor:
    """Return the colours of patch tokens, ``(..., 3) float64`` in 0..1.

    The principal components are those of all tokens together, so that a colour means the same in every image. Each component
    is scaled from its 1st to its 99th percentile.

    Parameters
    ----------
    tokens : Tensor
        ``(..., D)`` float, D at least 3: of the patches, for example ``(N, h, w, D)``.

    Raises
    ------
    ValueError
        If D is below 3, or tokens hold NaN.

    References
    ----------
    Amir et al.: Deep ViT Features as Dense Visual Descriptors, 2021, https://arxiv.org/abs/2112.05814; Oquab et al.: DINOv2,
    2023, https://arxiv.org/abs/2304.07193, figure 1, which in addition removes the background.

    Examples
    --------
    >>> token_colors(torch.eye(4)).shape
    torch.Size([4, 3])
    """
    if tokens.ndim < 2 or tokens.shape[-1] < 3:
        raise ValueError(f"tokens: expected (..., D) with D at least 3, got {tuple(tokens.shape)}")
    components = principal_components(tokens.reshape(-1, tokens.shape[-1]), 3)
    low, high = (torch.quantile(components, share, 0) for share in (TAIL, 1 - TAIL))
    scaled = (components - low) / (high - low).clamp(min=torch.finfo(components.dtype).tiny)
    return scaled.clamp(0, 1).view(*tokens.shape[:-1], 3)
