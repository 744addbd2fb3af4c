"""Multi-crop: one forward pass for each size of view."""

from collections.abc import Callable, Sequence
from itertools import groupby

import torch
from torch import Tensor, nn


def forward_by_size(module: Callable[[Tensor], Tensor], views: Sequence[Tensor]) -> list[Tensor]:
    """Apply a module to views of several sizes, in one pass for each run of views of the same size.

    This is the multi-crop of SwAV (Caron et al. 2020, https://arxiv.org/abs/2006.09882) and DINO: two global and six local
    crops take two passes. Batch normalisation sees all rows of a pass together.

    Parameters
    ----------
    module : callable
        Images ``(N, C, H, W)`` to outputs ``(N, ...)``.
    views : sequence of Tensor
        V views ``(N, C, H, W)``. Views of the same size are adjacent.

    Returns
    -------
    list of Tensor
        The output of each view, in the order of the views.

    Examples
    --------
    >>> views = [torch.ones(2, 3, 8, 8), torch.ones(2, 3, 8, 8), torch.ones(2, 3, 4, 4)]
    >>> [tuple(output.shape) for output in forward_by_size(lambda x: x.mean((2, 3)), views)]
    [(2, 3), (2, 3), (2, 3)]
    """
    outputs: list[Tensor] = []
    for _, group in groupby(views, key=lambda view: view.shape[1:]):
        same = list(group)
        outputs += module(torch.cat(same)).split([len(view) for view in same])
    return outputs


def embed_by_size(backbone: Callable[[Tensor], Tensor], projector: nn.Module, views: Sequence[Tensor]) -> list[Tensor]:
    """Return the embeddings of views of several sizes: one pass of the backbone for each size, one of the projector for all.

    As in the published code of SwAV and DINO, batch normalisation of the projector sees global and local views together.

    Parameters
    ----------
    backbone : callable
        Images ``(N, C, H, W)`` to features ``(N, E)``.
    projector : nn.Module
        Features ``(N, E)`` to embeddings ``(N, D)``.
    views : sequence of Tensor
        V views ``(N, C, H, W)``. Views of the same size are adjacent.

    Returns
    -------
    list of Tensor
        The embeddings ``(N, D)`` of each view, in the order of the views.
    """
    features = forward_by_size(backbone, views)
    return list(projector(torch.cat(features)).split([len(view) for view in views]))
