"""The figure of :mod:`growth`: seconds and memory against the size, two panels a part, the slope in the legend."""

import math
from pathlib import Path
from typing import Any

from growth import slope

from ssl_eval.figures.style import COLORS, MARKERS, paper

UNITS = {
    "images": "images", "classes": "classes", "epochs": "epochs", "folders": "run folders",
    "checkpoint": "MB of checkpoint", "ranks": "ranks",
}  # fmt: skip
COLUMNS = 3
# key of a row, its name, and what is below the resolution of the clock and of the pages
VALUES = (("cpu", "seconds of one core", 1e-3), ("mib", "MiB", 1.0))


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the figure of the rows of the JSON."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    parts = [part for part in UNITS if any(row["part"] == part for row in rows)]
    lines = -(-len(parts) // COLUMNS)
    with paper():
        figure = Figure((2.9 * COLUMNS, 4.9 * lines), layout="constrained")
        axes = figure.subplots(2 * lines, COLUMNS, squeeze=False)
        for ax in axes.flat:
            ax.set_visible(False)
        for place, part in enumerate(parts):
            of_part = [row for row in rows if row["part"] == part]
            for below, (value, name, least) in enumerate(VALUES):
                ax = axes[2 * (place // COLUMNS) + below][place % COLUMNS]
                ax.set_visible(True)
                for number, what in enumerate(dict.fromkeys(row["what"] for row in of_part)):
                    own = sorted((row for row in of_part if row["what"] == what), key=lambda row: row["size"])
                    shown = [max(row[value], least) for row in own]
                    label = f"{what}: {slope(own, value)[0]:.2f}" if max(shown) > least else f"{what}: below"
                    style = {"marker": MARKERS[number], "color": COLORS[number]}
                    ax.plot([row["size"] for row in own], shown, label=label, **style)
                ax.set_xscale("log")
                ax.set_yscale("log")
                low, high = ax.get_ylim()
                ax.set_ylim(10.0 ** math.floor(math.log10(low)), 10.0 ** math.ceil(math.log10(high)))
                for axis in (ax.xaxis, ax.yaxis):
                    axis.set_major_locator(LogLocator(numticks=8))
                    axis.set_minor_locator(NullLocator())
                    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if x >= 1 else f"{x:g}"))
                if part in ("ranks", "epochs"):
                    ax.set_xticks(sorted({row["size"] for row in of_part}))
                ax.set_xlabel(UNITS[part])
                ax.set_ylabel(name)
                ax.legend(loc="lower left", bbox_to_anchor=(0, 1), fontsize=6.5)
        figure.savefig(path, dpi=130)
