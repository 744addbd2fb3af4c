"""Figure of images above maps of their pixels: masks, predictions, clusters of tokens, depth."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ssl_eval.figures.style import COLUMN_INCHES, NothingToDraw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Twelve of Paul Tol's and of Okabe and Ito's colours that differ in hue or lightness; a larger number repeats them
CLASS_COLORS = (
    "#303030", "#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#EE7733", "#AADD99", "#882255", "#DDBBEE",
    "#997700",
)  # fmt: skip
IGNORED_COLOR = "#FFFFFF"  # of pixels that do not count
MAX_NAMES = 12  # classes of a legend


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
        Likewise, without a legend: the number of a cluster has no meaning.
    depths : mapping of str to Tensor, optional
        Name of a row -> ``(N, h, w)``; they share a colour bar. White: 0, not measured.
    ignore_index : int
        Of ``classes``.

    Raises
    ------
    NothingToDraw
        Without images.
    """
    from matplotlib.figure import Figure

    if not len(images):
        raise NothingToDraw("expected an image or more")
    names = ["image", *(classes or {}), *(depths or {}), *(clusters or {})]
    height, width = images.shape[2:]
    side = min(1.1, 2 * COLUMN_INCHES / len(images))
    size = side * len(images) + 0.25 + 0.45 * bool(depths), (side * height / width + 0.03) * len(names)
    size = size[0], size[1] + 0.45 * bool(classes)  # the legend
    figure = Figure(size, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.02, hspace=0.02)  # type: ignore[union-attr, call-arg]
    axes = figure.subplots(len(names), len(images), squeeze=False)
    for ax, image in zip(axes[0], images.float().clamp(0, 1)):
        pixels = image.permute(1, 2, 0)
        ax.imshow(pixels.expand(-1, -1, 3).tolist(), interpolation="nearest")
    for name, maps in {**(classes or {}), **(clusters or {})}.items():
        is_class = name in (classes or {})
        for ax, values in zip(axes[names.index(name)], maps):
            ax.imshow(_colored(values, ignore_index if is_class else None).tolist(), interpolation="nearest")
    if depths:
        _draw_depths(figure, {name: axes[names.index(name)] for name in depths}, depths)
    if classes:
        _class_legend(figure, classes, ignore_index)
    for row, name in zip(axes, names):
        row[0].set_ylabel(name)
        for ax in row:
            ax.set_xticks([])
            ax.set_yticks([])
            ax.grid(visible=False)
            ax.spines[:].set_visible(False)
    return figure


def _colored(values: Tensor, ignore_index: int | None) -> Tensor:
    """Return the colours ``(h, w, 3)`` of classes ``(h, w)``."""
    from matplotlib.colors import to_rgb

    palette = torch.tensor([to_rgb(color) for color in (*CLASS_COLORS, IGNORED_COLOR)])
    numbers = values.long().cpu()
    ignored = torch.zeros_like(numbers, dtype=torch.bool) if ignore_index is None else numbers == ignore_index
    return palette[torch.where(ignored, len(CLASS_COLORS), numbers % len(CLASS_COLORS))]


def _draw_depths(figure: "Figure", rows: Mapping[str, Any], depths: Mapping[str, Tensor]) -> None:
    known = torch.cat([maps[maps > 0].flatten().cpu() for maps in depths.values()])
    low, high = (float(value) for value in torch.aminmax(known)) if len(known) else (0.0, 1.0)
    for name, maps in depths.items():
        for ax, values in zip(rows[name], maps.cpu()):
            shown = values.double().where(values > 0, torch.nan)
            picture = ax.imshow(shown.tolist(), cmap="viridis", vmin=low, vmax=high, interpolation="nearest")
    every = [ax for row in rows.values() for ax in row]
    bar = figure.colorbar(picture, ax=every, location="right", fraction=0.03, pad=0.01)
    bar.set_label("depth", fontsize=7)
    bar.outline.set_visible(False)


def _class_legend(figure: "Figure", classes: Mapping[str, Tensor], ignore_index: int) -> None:
    from matplotlib.patches import Patch

    found = torch.cat([maps.flatten().cpu().long() for maps in classes.values()]).unique().tolist()
    shown = [number for number in found if number != ignore_index]
    if len(shown) > MAX_NAMES or (shown and max(shown) >= len(CLASS_COLORS)):
        return  # colours repeat
    handles = [Patch(color=CLASS_COLORS[number], label=f"class {number}") for number in shown]
    columns = max(1, min(len(handles), int(figure.get_figwidth() / 0.72)))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=1.0, columnspacing=1.0)
