"""Draw a contact sheet: the size of everything is computed in inches, so that nothing overlaps."""

import textwrap
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ssl_data.inspection.panels import Limits, Panel, scaled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL = 1.8  # inches: width of a panel
GAP = 0.15  # inches between columns
MARGIN = 0.15  # inches
HEADING = 1.15  # inches: width of the headings of the rows
ROW_GAP = 0.2  # inches between rows
TEXT, TITLE = 7.5, 8.5  # points
LINE = 1.25  # height of a line of text over its size
MAX_LINES = 14  # of text below a panel, or above a column
_CHARACTER = 0.55  # mean width of a character over the size of the text
_PIXELS = 135  # edge of an image up to which its pixels are drawn as squares


@dataclass(frozen=True)
class Column:
    """One column of a sheet: a panel, lines of text below it and the limits of an image for each row."""

    title: str
    panels: list[Panel]
    texts: list[list[str]]
    limits: list[Limits | None]

    @property
    def span(self) -> tuple[float, float]:
        """Lowest and highest value of the lines and bars, the same for all rows."""
        values = [np.ravel(panel.values) for panel in self.panels if panel.kind in ("lines", "bars")]
        finite = [each[np.isfinite(each)] for each in values]
        if not sum(map(len, finite)):
            return 0.0, 1.0
        every = np.concatenate(finite).astype(float)
        low, high = float(every.min()), float(every.max())
        room = 0.05 * (high - low) or 0.5
        return low - room, high + room


def draw_sheet(columns: list[Column], headings: list[str], title: str) -> "Figure":
    """Return the figure of a sheet.

    Parameters
    ----------
    columns : list of Column
        With as many panels as ``headings``.
    headings : list of str
        Left of each row.
    title : str
        Above the sheet; may be empty.

    Raises
    ------
    ImportError
        Without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ImportError("a picture needs matplotlib: pip install matplotlib") from error
    titles = [_wrapped(column.title.split("\n"), PANEL, TITLE) for column in columns]
    texts = [[_wrapped(text, PANEL, TEXT) for text in column.texts] for column in columns]
    width = 2 * MARGIN + HEADING + len(columns) * (PANEL + GAP)
    sheet_title = _wrapped(title.split("\n") if title else [], width - 2 * MARGIN, TITLE + 1)
    top = MARGIN + _inches(len(sheet_title), TITLE + 1) + _inches(max(map(len, titles)), TITLE) + 0.1
    rows = range(len(headings))
    panels = [PANEL * max(column.panels[row].height for column in columns) for row in rows]
    lines = [_wrapped(heading.split("\n"), HEADING, TITLE) for heading in headings]
    words = [_inches(max(len(text[row]) for text in texts), TEXT) + ROW_GAP for row in rows]
    heights = [max(panels[row] + words[row], _inches(len(lines[row]), TITLE) + ROW_GAP) for row in rows]
    height = top + sum(heights) + MARGIN
    figure = Figure(figsize=(width, height))

    def write(x: float, y: float, text: list[str], size: float, **options: Any) -> None:
        """Write below the point ``x, y``, in inches from the left and from the top."""
        figure.text(
            x / width, 1 - y / height, "\n".join(text), fontsize=size, va="top", linespacing=LINE, parse_math=False, **options
        )  # fmt: skip

    write(MARGIN, MARGIN, sheet_title, TITLE + 1, weight="bold")
    y = top
    for row in rows:
        write(MARGIN, y, lines[row], TITLE)
        for number, column in enumerate(columns):
            x = MARGIN + HEADING + number * (PANEL + GAP)
            box = (x / width, 1 - (y + panels[row]) / height, PANEL / width, panels[row] / height)
            axes = figure.add_axes(box)
            _draw(axes, column.panels[row], column.limits[row], column.span)
            write(x, y + panels[row] + 0.05, texts[number][row], TEXT)
            if row == 0:
                below = y - 0.07 - _inches(len(titles[number]), TITLE)
                write(x, below, titles[number], TITLE, weight="bold")
        y += heights[row]
    _draw_now(figure)
    return figure


def _draw(axes: "Axes", panel: Panel, limits: Limits | None, span: tuple[float, float]) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(linewidth=0.5, color="0.7")
    if panel.kind == "image" and limits is not None:
        rows, columns, bands = panel.values.shape
        shown = scaled(panel.values, limits)
        is_long = max(rows, columns) > 2.5 * min(rows, columns)
        axes.imshow(
            shown[..., 0] if bands == 1 else shown,
            cmap="gray" if rows == columns or panel.values.dtype == np.uint8 else "viridis",
            vmin=0, vmax=1, aspect="auto" if is_long else "equal",
            interpolation="nearest" if max(rows, columns) <= _PIXELS else "antialiased",
        )  # fmt: skip
        axes.set_anchor("NW")
    elif panel.kind == "text":
        axes.text(
            0.04, 0.96, "\n".join(_wrapped([panel.values], PANEL, TEXT)), fontsize=TEXT, va="top", parse_math=False,
            transform=axes.transAxes,
        )  # fmt: skip
    else:
        axes.set_ylim(*span)
        axes.axhline(0, color="0.8", linewidth=0.5, zorder=0)
        if panel.kind == "bars":
            axes.bar(range(len(panel.values)), panel.values, color="tab:blue", width=0.8)
        else:
            axes.plot(np.transpose(panel.values), linewidth=0.6)
            axes.margins(x=0)


def _draw_now(figure: "Figure") -> None:
    """Lay the text out once: characters that the font lacks are boxes, not a warning for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")
        figure.draw_without_rendering()


def _wrapped(lines: list[str], inches: float, size: float) -> list[str]:
    """Return lines that fit into a width, at most ``MAX_LINES``."""
    characters = max(8, int(72 * inches / (size * _CHARACTER)))
    found = [part for line in lines for part in textwrap.wrap(line, characters) or [""]]
    return found if len(found) <= MAX_LINES else [*found[: MAX_LINES - 1], "..."]


def _inches(lines: int, size: float) -> float:
    return lines * size * LINE / 72
