"""Figure of reconstructions: the image, what the encoder sees of it, and the predicted patches among the visible ones."""

from typing import TYPE_CHECKING

from torch import Tensor

from ssl_eval.figures.images.image_grid import Cell, check_images, grid_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MASKED = 0.6  # grey of a masked patch


def reconstruction_figure(images: Tensor, mask: Tensor, reconstruction: Tensor) -> "Figure":
    """Return a figure with a column for each image: the image, the image with grey masked patches, and the reconstruction.

    Parameters
    ----------
    images : Tensor
        ``(N, C, H, W)`` float in 0..1, C = 1 or 3.
    mask : Tensor
        ``(N, h, w) bool``, True for a masked patch; h and w divide H and W.
    reconstruction : Tensor
        ``(N, C, H, W)`` float in 0..1. Its masked patches are shown, with the visible ones of the image.

    Raises
    ------
    ValueError
        If shapes disagree, or values are not in 0..1.
    """
    check_images("images", images)
    if reconstruction.shape != images.shape:
        raise ValueError(f"reconstruction: expected {tuple(images.shape)}, got {tuple(reconstruction.shape)}")
    check_images("reconstruction", reconstruction)
    height, width = images.shape[2:]
    if mask.ndim != 3 or len(mask) != len(images) or height % mask.shape[1] or width % mask.shape[2]:
        raise ValueError(
            f"mask: expected ({len(images)}, h, w) with divisors of {height}, {width}, got {tuple(mask.shape)}"
        )
    pixels = mask.repeat_interleave(height // mask.shape[1], 1).repeat_interleave(width // mask.shape[2], 2)[:, None]
    rows = [images, images.masked_fill(pixels, MASKED), reconstruction.where(pixels, images)]
    return grid_figure([[Cell(each) for each in row] for row in rows], ["image", "masked", "reconstructed"])
