"""Figure of patch tokens as colours: patches with similar features have similar colours."""

from typing import TYPE_CHECKING

from torch import Tensor

from ssl_eval.figures.images.image_grid import Cell, check_images, grid_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def token_colors_figure(images: Tensor, colors: Tensor) -> "Figure":
    """Return a figure with a column for each image: the image, and the colours of its patches.

    Parameters
    ----------
    images : Tensor
        ``(N, C, H, W)`` float in 0..1, C = 1 or 3.
    colors : Tensor
        ``(N, h, w, 3)`` float in 0..1, of :func:`ssl_eval.token_colors`.

    Raises
    ------
    ValueError
        If shapes disagree, or values are not in 0..1.
    """
    check_images("images", images)
    if colors.ndim != 4 or len(colors) != len(images) or colors.shape[-1] != 3:
        raise ValueError(f"colors: expected ({len(images)}, h, w, 3), got {tuple(colors.shape)}")
    pictures = colors.permute(0, 3, 1, 2)
    check_images("colors", pictures)
    return grid_figure([[Cell(image) for image in images], [Cell(each) for each in pictures]], ["image", "components"])
