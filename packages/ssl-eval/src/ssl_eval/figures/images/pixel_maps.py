"""Figure of images above maps of their pixels: masks, predictions, clusters of tokens, depth."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ssl_eval.figures.images.image_grid import HEADING, MAX_SIDE, TEXT, WIDTH, Cell, grid_figure
from ssl_eval.figures.style import NothingToDraw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Twelve of Paul Tol's and of Okabe and Ito's colours that differ in hue or lightness; a larger number repeats them
CLASS_COLORS = (
    "#303030", "#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#EE7733", "#AADD99", "#882255", "#DDBBEE",
    "#997700",
)  # fmt: skip
IGNORED_COLOR = "#FFFFFF"  # of pixels that do not count
MAX_NAMES = 12  # classes of a legend
BAR = 0.4  # inches: width of the colour bar
LEGEND, ENTRY = 0.13, 0.62  # inches: height of a line of the legend, width of one of its entries


def pixel_map_figure(
    images: Tensor,
    classes: Mapping[str, Tensor] | None = None,
    clusters: Mapping[str, Tensor] | None = None,
    depths: Mapping[str, Tensor] | None = None,
    ignore_index: int = 255,
) -> "Figure":
    """Return images in the first row, and below each one its maps, a row for each.

    Parameters
    ----------
    images : Tensor
        ``(N, C, H, W)`` in 0..1, of one or three channels.
    classes : mapping of str to Tensor, optional
        Name of a row -> ``(N, h, w)`` integer; all of them share colours and a legend. White: ``ignore_index``.
    clusters : mapping of str to Tensor, optional
        Name of a row -> ``(N, h, w)`` integer, drawn without a legend: the number of a cluster has no meaning.
    depths : mapping of str to Tensor, optional
        Name of a row -> ``(N, h, w)``; they share a colour bar. White: 0, not measured.
    ignore_index : int
        Label in ``classes`` of pixels that do not count.

    Raises
    ------
    NothingToDraw
        Without images.
    """
    if not len(images):
        raise NothingToDraw("expected an image or more")
    classes, clusters, depths = classes or {}, clusters or {}, depths or {}
    limits = _limits(depths)
    rows = {"image": images.float().clamp(0, 1)}
    rows |= {name: _colored(maps, ignore_index) for name, maps in classes.items()}
    rows |= {name: _colored_depths(maps, *limits) for name, maps in depths.items()}
    rows |= {name: _colored(maps, None) for name, maps in clusters.items()}
    shown = _named_classes(classes, ignore_index)
    columns = max(1, int(min(WIDTH, HEADING + len(images) * MAX_SIDE) / ENTRY))  # of the legend
    cells = [[Cell(each) for each in row] for row in rows.values()]
    figure = grid_figure(cells, list(rows), right=BAR * bool(depths), below=LEGEND * -(-len(shown) // columns))
    if depths:
        places = [number for number, name in enumerate(rows) if name in depths]
        _color_bar(figure, [figure.axes[number * len(images)] for number in (places[0], places[-1])], limits)
    if shown:
        _class_legend(figure, shown, columns)
    return figure


def _colored(values: Tensor, ignore_index: int | None) -> Tensor:
    """Return the colours ``(N, 3, h, w)`` of classes ``(N, h, w)``."""
    from matplotlib.colors import to_rgb

    palette = torch.tensor([to_rgb(color) for color in (*CLASS_COLORS, IGNORED_COLOR)])
    numbers = values.long().cpu()
    ignored = torch.zeros_like(numbers, dtype=torch.bool) if ignore_index is None else numbers == ignore_index
    return palette[torch.where(ignored, len(CLASS_COLORS), numbers % len(CLASS_COLORS))].movedim(-1, 1)


def _limits(depths: Mapping[str, Tensor]) -> tuple[float, float]:
    known = [maps[maps > 0].flatten().cpu().double() for maps in depths.values()]
    values = torch.cat([*known, torch.empty(0, dtype=torch.float64)])
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)


def _colored_depths(values: Tensor, low: float, high: float) -> Tensor:
    """Return the colours ``(N, 3, h, w)`` of depths ``(N, h, w)``."""
    from matplotlib import colormaps

    shares = ((values.double().cpu() - low) / max(high - low, 1e-12)).clamp(0, 1)
    colors = torch.from_numpy(colormaps["viridis"](shares.numpy()))[..., :3].float()
    return colors.where(values.cpu()[..., None] > 0, 1.0).movedim(-1, 1)


def _color_bar(figure: "Figure", axes: list[Any], limits: tuple[float, float]) -> None:
    """Draw the colours of depths at the right, from the first of these axes to the last."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    top, bottom = axes[0].get_position().y1, axes[-1].get_position().y0
    width = figure.get_figwidth()
    place = figure.add_axes((1 - BAR / width, bottom, 0.08 / width, top - bottom))
    bar = figure.colorbar(ScalarMappable(Normalize(*limits), "viridis"), cax=place)
    bar.ax.tick_params(labelsize=TEXT, length=2, pad=1.5)
    bar.outline.set_visible(False)


def _named_classes(classes: Mapping[str, Tensor], ignore_index: int) -> list[int]:
    """Return the classes of a legend; none where colours repeat."""
    if not classes:
        return []
    found = torch.cat([maps.flatten().cpu().long() for maps in classes.values()]).unique().tolist()
    shown = [number for number in found if number != ignore_index]
    return shown if len(shown) <= MAX_NAMES and max(shown, default=0) < len(CLASS_COLORS) else []


def _class_legend(figure: "Figure", shown: list[int], columns: int) -> None:
    """Draw the legend in the space below the maps."""
    from matplotlib.patches import Patch

    handles = [Patch(color=CLASS_COLORS[number], label=f"class {number}") for number in shown]
    figure.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.5, 0), ncols=columns, fontsize=TEXT, handlelength=1.0,
        handleheight=0.7, columnspacing=0.8, handletextpad=0.4, borderaxespad=0.2,
    )  # fmt: skip
