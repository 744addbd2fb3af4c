"""Style of all figures: the width of a paper column, colour-blind safe colours, lines that differ in grey as well."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_eval.optional import optional_import

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito: Color Universal Design, 2008; without yellow, which is faint on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
# Ten classes. Petroff: Accessible Color Sequences for Data Visualization, 2021, https://arxiv.org/abs/2107.02270.
CLASS_COLORS = (
    "#3F90DA", "#FFA90E", "#BD1F01", "#94A4A2", "#832DB6", "#A96B59", "#E76300", "#B9AC70", "#717581", "#92DADD",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", ":")  # the next one from the eighth line on, where colours repeat
HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----", "++++")  # of bars
GREY = "#B0B0B0"  # of lines without a legend entry
COLUMN_INCHES = 3.4  # the width of a column in a two-column paper
SUFFIXES = (".png", ".pdf")
STYLE: Any = {  # matplotlib's rcParams
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E0E0E0",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.0,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.0,
    "savefig.dpi": 300,
    "savefig.facecolor": "white",  # a README may be shown on a dark page
    "pdf.fonttype": 42,  # TrueType: publishers reject matplotlib's default Type 3
    "text.parse_math": False,  # the name of a run may contain a dollar sign
}


class NothingToDraw(ValueError):
    """Raised when no run has logged the data of a figure yet."""


@contextmanager
def paper() -> Iterator[None]:
    """Use the style of this module for drawing and saving.

    Raises
    ------
    ImportError
        Without matplotlib.
    """
    with optional_import("a figure"):
        import matplotlib
    with matplotlib.rc_context(STYLE):
        yield


def look(number: int, markers: bool = True) -> dict[str, Any]:
    """Return colour, dashes and marker of the line with this number."""
    return {
        "color": COLORS[number % len(COLORS)],
        "linestyle": DASHES[number // len(COLORS) % len(DASHES)],
        "marker": MARKERS[number % len(MARKERS)] if markers else None,
    }


def class_name(label: int, names: Sequence[str]) -> str:
    """Return the name of a class, or its number if it has no name."""
    return names[label] if 0 <= label < len(names) else str(label)


def shortened(text: str, most: int) -> str:
    """Return the beginning of a text, ``most`` characters with an ellipsis; a shorter text is unchanged."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def legend_above(figure: "Figure", handles: dict[str, Any], width: float) -> None:
    """Put a legend above all axes, in as many columns as fit the longest label.

    The figure grows by its height. Handles without a label have no entry.
    """
    handles = {label: handle for label, handle in handles.items() if label}
    if not handles:
        return
    longest = max(map(len, handles))
    columns = max(1, min(len(handles), int(width / (0.38 + 0.058 * longest))))
    rows = -(-len(handles) // columns)
    figure.set_size_inches(figure.get_figwidth(), figure.get_figheight() + 0.14 * rows + 0.06)
    figure.legend(
        handles.values(), handles.keys(), loc="outside upper left", ncols=columns, columnspacing=1.2, markerscale=1.3
    )


def save(figure: "Figure", path: Path) -> None:
    """Write the file atomically, without a date: equal runs give equal files."""
    # Compute the layout once, not for each format: with a layout engine, each savefig draws the figure twice.
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine(None)
    temporary = path.with_name(f".{path.name}.tmp")
    metadata = {"CreationDate": None} if path.suffix == ".pdf" else {"Software": None}
    try:
        figure.savefig(temporary, format=path.suffix[1:], metadata=metadata)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
