"""Histograms of oriented gradients, the target of MaskFeat."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_losses.precision import widened


@torch.no_grad()
def hog(images: Tensor, cell_size: int = 8, num_bins: int = 9) -> Tensor:
    """Return the histograms of oriented gradients of the cells of images, each channel by itself.

    As MaskFeat (Wei et al. 2022, https://arxiv.org/abs/2112.09133) and its code compute those of Dalal & Triggs (2005): the
    Sobel gradient of the image continued by reflection; a vote of a pixel's magnitude for the bin of its orientation, without
    interpolation between bins or cells; each histogram divided by its Euclidean norm.

    Parameters
    ----------
    images : Tensor
        ``(N, C, H, W)`` float, H and W multiples of ``cell_size``. Normalised images give the same histograms as those
        between 0 and 1.
    cell_size : int
        Side of a cell in pixels.
    num_bins : int
        Bins of the orientation, from 0 to 180 degrees: opposite gradients are in one bin.

    Returns
    -------
    Tensor
        ``(N, C, num_bins, H / cell_size, W / cell_size)``, float32 at least. A cell of one colour has a histogram of zeros.

    Examples
    --------
    >>> ramp = torch.arange(8.0).expand(1, 1, 8, 8)  # all gradients point to the right
    >>> hog(ramp).flatten().tolist()
    [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """
    x = F.pad(widened((images,))[0], (1, 1, 1, 1), mode="reflect")
    rows = x[:, :, :-2] + 2 * x[:, :, 1:-1] + x[:, :, 2:]
    columns = x[..., :-2] + 2 * x[..., 1:-1] + x[..., 2:]
    across, down = rows[..., :-2] - rows[..., 2:], columns[:, :, :-2] - columns[:, :, 2:]
    magnitude = torch.hypot(across, down)
    # The angle to the vertical axis, as in the authors' code
    bins = (torch.atan2(across, down) / math.pi * num_bins).floor().remainder(num_bins)
    grid = images.shape[2] // cell_size, cell_size, images.shape[3] // cell_size, cell_size
    votes = [(magnitude * (bins == number)).unflatten(2, grid[:2]).unflatten(4, grid[2:]) for number in range(num_bins)]
    return F.normalize(torch.stack([vote.sum((3, 5)) for vote in votes], dim=2), dim=2)


def hog_of_patches(images: Tensor, patch_size: int, cells: int = 2, num_bins: int = 9) -> Tensor:
    """Return the histograms of all cells of each patch, ``(N, L, C * num_bins * cells**2)``.

    Parameters
    ----------
    images : Tensor
        ``(N, C, H, W)`` float.
    patch_size : int
        Side of a patch in pixels, a multiple of ``cells``.
    cells : int
        Cells of a patch in each direction; the paper's 2 are cells of 8 pixels.
    num_bins : int
        As in :func:`hog`.
    """
    histograms = hog(images, patch_size // cells, num_bins)  # (N, C, B, rows * cells, columns * cells)
    patches = histograms.unflatten(4, (-1, cells)).unflatten(3, (-1, cells))
    return patches.permute(0, 3, 5, 1, 2, 4, 6).flatten(3).flatten(1, 2)
