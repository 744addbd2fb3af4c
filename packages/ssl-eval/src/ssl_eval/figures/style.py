"""Style of all figures: the width of a paper column, colour-blind safe colours, lines that differ in grey as well."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito: Color Universal Design, 2008; yellow is left out, it is faint on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", ":")  # for the eighth line, which has the first one's colour, and so on
HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----", "++++")  # of bars
GREY = "#B0B0B0"  # of what is not named
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
    "savefig.facecolor": "white",  # a README may have a dark page
    "pdf.fonttype": 42,  # TrueType: publishers reject matplotlib's default Type 3
    "text.parse_math": False,  # a run may have a dollar in its name
}


class NothingToDraw(ValueError):
    """No run has the data of the figure yet."""


@contextmanager
def paper() -> Iterator[None]:
    """Use the style of this module for drawing and saving.

    Raises
    ------
    ImportError
        Without matplotlib.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError(
            "figures need matplotlib: pip install matplotlib (or the extra 'report' of ssl-eval, from the checkout: "
            "pip install './packages/ssl-eval[report]')"
        ) from error
    with matplotlib.rc_context(STYLE):
        yield


def look(number: int, markers: bool = True) -> dict[str, Any]:
    """Return colour, dashes and marker of the line with this number."""
    return {
        "color": COLORS[number % len(COLORS)],
        "linestyle": DASHES[number // len(COLORS) % len(DASHES)],
        "marker": MARKERS[number % len(MARKERS)] if markers else None,
    }


def legend_above(figure: "Figure", handles: dict[str, Any], width: float) -> None:
    """Put a legend above all axes, in as many columns as its longest label leaves room for.

    The figure grows by what it takes. What has no label is not named.
    """
    handles = {label: handle for label, handle in handles.items() if label}
    if not handles:
        return
    longest = max(map(len, handles))
    columns = max(1, min(len(handles), int(width / (0.38 + 0.058 * longest))))
    rows = -(-len(handles) // columns)
    figure.set_size_inches(figure.get_figwidth(), figure.get_figheight() + 0.14 * rows + 0.06)
    figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=columns, columnspacing=1.2)


def save(figure: "Figure", path: Path) -> None:
    """Write the file atomically, under a temporary name. It has no date: equal runs give equal files."""
    # Once, and not for each format: to find its layout a figure is drawn; and with any engine, if it be "none", once more.
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
