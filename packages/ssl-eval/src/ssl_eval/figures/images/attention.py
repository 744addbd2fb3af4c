"""Figure of attention maps: where the heads of a vision transformer look in each image."""

from typing import TYPE_CHECKING

from torch import Tensor

from ssl_eval.figures.images.image_grid import Cell, check_images, grid_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_HEADS = 6  # that are shown, the first ones


def attention_figure(images: Tensor, attention: Tensor) -> "Figure":
    """Return a figure with a column for each image: the image, the mean of all heads, and the first six heads.

    Each map is scaled from its lowest to its highest value, dark to bright.

    Parameters
    ----------
    images : Tensor
        ``(N, C, H, W)`` float in 0..1, C = 1 or 3.
    attention : Tensor
        ``(N, heads, h, w)`` float: the attention to each patch, for example that of the class token.

    Raises
    ------
    ValueError
        If shapes disagree, or values are not finite.

    References
    ----------
    Caron et al.: Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021, https://arxiv.org/abs/2104.14294
    (DINO), figure 1.
    """
    check_images("images", images)
    if attention.ndim != 4 or len(attention) != len(images):
        raise ValueError(f"attention: expected ({len(images)}, heads, h, w), got {tuple(attention.shape)}")
    heads = attention.shape[1]
    shown = [attention.mean(1), *attention[:, :MAX_HEADS].unbind(1)] if heads > 1 else [attention[:, 0]]
    names = [f"mean of {heads}", *(f"head {head + 1}" for head in range(heads))] if heads > 1 else ["attention"]
    rows = [[Cell(image) for image in images], *([Cell(each) for each in maps] for maps in shown)]
    return grid_figure(rows, ["image", *names[: len(shown)]])
