"""Reconstructions of the methods that predict pixels, for pictures of an evaluation."""

from typing import NamedTuple

import torch
from torch import Tensor

from ssl_losses.masked_reconstruction import EPSILON
from ssl_losses.ops.patches import patchify, unpatchify


class Reconstruction(NamedTuple):
    """Prediction of a method for images with masked patches; pixels are normalised as in training.

    Attributes
    ----------
    images : Tensor
        ``(N, C, H, W)`` float, before masking.
    mask : Tensor
        ``(N, h, w) bool``, True for a predicted patch.
    pixels : Tensor
        ``(N, C, H, W)`` float: the predicted patches, and the visible patches of the images.
    """

    images: Tensor
    mask: Tensor
    pixels: Tensor


def reconstruct(
    images: Tensor, prediction: Tensor, mask: Tensor, grid: tuple[int, int], patch_size: int, is_normalized: bool
) -> Reconstruction:
    """Return the images with the predicted patches.

    Parameters
    ----------
    images : Tensor
        ``(N, C, H, W)`` float.
    prediction : Tensor
        ``(N, L, p p C)`` float, of all patches; those of visible ones are not used.
    mask : Tensor
        ``(N, L) bool``, True for a predicted patch.
    grid : tuple of int
        Rows and columns of patches.
    patch_size : int
        p, in pixels.
    is_normalized : bool
        Whether the method predicts patches of mean 0 and variance 1. They then get the mean and variance of the true patch,
        which the method does not know: only the structure inside a patch is predicted.
    """
    patches = patchify(images.float(), patch_size)
    prediction = prediction.to(patches.dtype)
    if is_normalized:
        variance, mean = torch.var_mean(patches, dim=2, keepdim=True)
        prediction = prediction * (variance + EPSILON).sqrt() + mean
    filled = torch.where(mask[..., None], prediction, patches)
    return Reconstruction(images, mask.unflatten(1, grid), unpatchify(filled, patch_size, grid[0]))


def of_all_patches(prediction: Tensor, patches: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return predictions of some patches among all: ``(N, L, D)``, 0 elsewhere, and ``(N, L) bool``, True for these.

    Parameters
    ----------
    prediction : Tensor
        ``(N, M, D)``.
    patches : Tensor
        Their indices ``(N, M) int64``; for equal indices, any of the predictions is used.
    count : int
        L, number of patches of an image.
    """
    everything = prediction.new_zeros(len(prediction), count, prediction.shape[2])
    everything.scatter_(1, patches[..., None].expand_as(prediction), prediction)
    mask = torch.zeros(len(prediction), count, dtype=torch.bool, device=patches.device)
    return everything, mask.scatter_(1, patches, torch.ones_like(patches, dtype=torch.bool))
