"""Grid of images with frames and texts, which the figures of samples share: all sizes are in inches, nothing overlaps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ssl_eval.figures.style import COLORS, COLUMN_INCHES, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 2 * COLUMN_INCHES  # of a figure at most, in inches: both columns of a page
MIN_SIDE, MAX_SIDE = 0.35, 0.8  # inches of an image; with more columns than fit, the figure is wider
HEADING = 0.75  # inches, width of the headings of the rows
GAP, MARGIN = 0.07, 0.05  # inches
TEXT = 6.0  # points
LINE = TEXT * 1.25 / 72  # inches of a line of text
CHARACTER = TEXT * 0.6 / 72  # inches, mean width of a character
RIGHT, WRONG = COLORS[2], COLORS[1]  # of frames: green, and vermilion with dashes


@dataclass(frozen=True)
class Cell:
    """One image of a grid.

    Attributes
    ----------
    image : Tensor
        ``(C, H, W)`` float in 0..1, C = 1 or 3; or ``(h, w)`` float, which is drawn by a colour map from its lowest to its
        highest value.
    text : str
        Below the image, of any number of lines; each is cut to its width.
    right : bool, optional
        Draw a frame: green and solid if True, vermilion and dashed if False.
    """

    image: Tensor
    text: str = ""
    right: bool | None = None


def grid_figure(
    rows: Sequence[Sequence[Cell]],
    headings: Sequence[str] = (),
    titles: Sequence[str] = (),
    right: float = 0.0,
    below: float = 0.0,
) -> "Figure":
    """Return a figure of rows of images.

    Parameters
    ----------
    rows : sequence of sequence of Cell
        Rows of cells, of any lengths.
    headings : sequence of str
        Left of each row; empty: no headings.
    titles : sequence of str
        Above each column; empty: no titles.
    right, below : float
        Inches that are left empty at the right and below, for a colour bar or a legend.

    Raises
    ------
    ValueError
        If there is no image, or an image has another shape or other values.
    """
    from matplotlib.figure import Figure

    cells = [cell for row in rows for cell in row]
    if not cells:
        raise ValueError("rows: expected at least one image, got none")
    for cell in cells:
        _check(cell.image)
    columns = max(map(len, rows))
    left = MARGIN + (HEADING if headings else 0.0)
    side = min(MAX_SIDE, max(MIN_SIDE, (WIDTH - left - right - MARGIN) / columns - GAP))
    lines = [max(cell.text.count("\n") + 1 if cell.text else 0 for cell in row) for row in rows]
    heights = [max(side * _ratio(cell.image) for cell in row) for row in rows]
    top = MARGIN + (LINE + 0.03 if titles else 0.0)
    width = left + columns * (side + GAP) + right + MARGIN
    height = top + sum(heights) + sum(n * LINE for n in lines) + GAP * len(rows) + below + MARGIN
    figure = Figure((width, height))

    def write(x: float, y: float, text: str, **options: Any) -> None:
        """Write at a point in inches from the left and from the top."""
        figure.text(x / width, 1 - y / height, text, fontsize=TEXT, va="top", linespacing=1.25, **options)

    for column, title in enumerate(titles):
        write(left + column * (side + GAP) + side / 2, MARGIN, _cut(title, side), ha="center")
    y = top
    for number, row in enumerate(rows):
        if headings:
            write(MARGIN, y + heights[number] / 2 - LINE / 2, headings[number])
        for column, cell in enumerate(row):
            x = left + column * (side + GAP)
            tall = side * _ratio(cell.image)
            ax = figure.add_axes((x / width, 1 - (y + tall) / height, side / width, tall / height))
            _draw(ax, cell)
            if cell.text:
                text = "\n".join(_cut(line, side + GAP) for line in cell.text.split("\n"))
                write(x + side / 2, y + heights[number] + 0.025, text, ha="center")
        y += heights[number] + lines[number] * LINE + GAP
    return figure


def check_images(name: str, images: Tensor, count: int | None = None) -> None:
    """Raise a ValueError unless ``images`` is ``(N, C, H, W)`` float in 0..1 with C = 1 or 3, and N is ``count``."""
    if not isinstance(images, Tensor) or images.ndim != 4 or len(images) == 0 or not images.is_floating_point():
        got = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f"{name}: expected (N, C, H, W) float with N at least 1, got {got}")
    if count is not None and len(images) != count:
        raise ValueError(f"{name}: expected {count} images, got {len(images)}")
    _check(images[0], name)
    _check(images, name)


def _check(image: Tensor, name: str = "image") -> None:
    if image.ndim == 3 and len(image) not in (1, 3):
        raise ValueError(f"{name}: expected 1 or 3 channels, got {len(image)}; choose those to show")
    if image.ndim not in (2, 3, 4) or not bool(torch.isfinite(image).all()):
        raise ValueError(f"{name}: expected (C, H, W) or (h, w) finite numbers, got shape {tuple(image.shape)}")
    low, high = float(image.min()), float(image.max())
    if image.ndim > 2 and (low < -1e-3 or high > 1 + 1e-3):
        raise ValueError(
            f"{name}: expected values in 0..1, got {low:.3g} to {high:.3g}; of a normalised image, image * std + mean"
        )


def _ratio(image: Tensor) -> float:
    return image.shape[-2] / image.shape[-1]


def _draw(ax: "Axes", cell: Cell) -> None:
    image = cell.image.detach().float().cpu()
    if image.ndim == 2:
        ax.imshow(image.tolist(), cmap="viridis", interpolation="nearest", aspect="auto")
    elif len(image) == 1:
        ax.imshow(image[0].tolist(), cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    else:
        ax.imshow(image.clamp(0, 1).permute(1, 2, 0).tolist(), interpolation="nearest", aspect="auto")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(visible=False)
    ax.spines[:].set_visible(cell.right is not None)
    if cell.right is not None:
        ax.spines[:].set(color=RIGHT if cell.right else WRONG, linewidth=1.8)
        if not cell.right:
            ax.spines[:].set(linestyle=(0, (2.5, 1.2)), capstyle="butt")


def _cut(text: str, inches: float) -> str:
    """Return text that fits into a width, at the size of this module."""
    return shortened(text, max(3, int(inches / CHARACTER)))
