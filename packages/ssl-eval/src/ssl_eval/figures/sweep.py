"""Accuracy against a swept parameter."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ssl_eval.figures.style import COLUMN_INCHES, legend_above, look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point = tuple[float, float, float]  # parameter, mean accuracy in percent, deviation


def sweep_figure(
    parameter: str, panels: Mapping[str, Mapping[str, Sequence[Point]]], unfinished: Sequence[float]
) -> "Figure":
    """Return accuracies against a parameter with error bars; the axis is logarithmic if the values are spaced by factors.

    Parameters
    ----------
    parameter : str
        Label of the x axis.
    panels : mapping
        Label of the y axis -> label of a line (the other settings; empty for a single line) -> its points.
    unfinished : sequence of float
        Values of runs that have not finished: a cross at the bottom of each panel, if it is within a factor of ten of the
        others (on a linear axis: within their range and half of it on either side).
    """
    from matplotlib.figure import Figure

    columns = 1 if len(panels) == 1 else 2
    rows = -(-len(panels) // columns)
    width = COLUMN_INCHES * columns
    figure = Figure((width, 0.3 + 1.8 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    handles = {}
    labels = list(dict.fromkeys(label for lines in panels.values() for label in lines))
    finished = {point[0] for lines in panels.values() for points in lines.values() for point in points}
    near = [value for value in unfinished if _is_near(value, sorted(finished))]
    crosses_label = "not finished" + (
        f" ({len(unfinished) - len(near)} outside the axis)" if len(near) < len(unfinished) else ""
    )
    for ax, (accuracy, lines) in zip(axes, panels.items()):
        for label, points in lines.items():
            x, mean, deviation = ([point[part] for point in sorted(points)] for part in range(3))
            handles[label] = ax.errorbar(x, mean, deviation, capsize=2, elinewidth=0.8, **look(labels.index(label)))
        if unfinished:
            across = ax.get_xaxis_transform()
            (crosses,) = ax.plot(
                near, [0.0] * len(near), "x", color="#000000", markersize=5, transform=across, clip_on=False
            )
            crosses.set_in_layout(
                False
            )  # without a cross its bounding box is at a corner of the figure, and the layout fails
            handles[crosses_label] = crosses
        ax.set_xlabel(parameter)
        ax.set_ylabel(accuracy)
        _scale(ax, sorted({*finished, *near}))
    for ax in axes[len(panels) :]:
        ax.remove()
    handles.pop("", None)
    legend_above(figure, handles, width)
    return figure


def _is_near(value: float, finished: Sequence[float]) -> bool:
    """Return whether a value can be shown without compressing the range of the finished ones."""
    low, high = finished[0], finished[-1]
    if is_geometric([each for each in finished if each > 0]):
        return value == 0 or min(each for each in finished if each > 0) / 10 <= value <= 10 * high
    return low - (high - low) / 2 <= value <= high + (high - low) / 2


def is_geometric(values: Sequence[float]) -> bool:
    """Return whether positive values are spaced by factors rather than by differences, over a factor of four at least.

    Examples
    --------
    >>> is_geometric([1, 2, 5, 10]), is_geometric([0.1, 0.2, 0.3, 0.4]), is_geometric([1, 2, 3])
    (True, False, False)
    """
    values = sorted(set(values))
    if len(values) < 3 or values[0] <= 0 or values[-1] < 4 * values[0]:
        return False
    return _unevenness([math.log(value) for value in values]) < _unevenness(values)


def _unevenness(values: Sequence[float]) -> float:
    steps = [after - before for before, after in itertools.pairwise(values)]
    return max(steps) / min(steps)


def _scale(ax: "Axes", values: list[float]) -> None:
    """Set the scale of the axis; a few values are its ticks."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    positive = [value for value in values if value > 0]
    if is_geometric(values):
        ax.set_xscale("log")
    elif values[0] == 0 and is_geometric(positive):  # e.g. a weight decay of 0, 1e-5, 1e-4
        ax.set_xscale("symlog", linthresh=positive[0])
    if len(values) <= 8:
        ax.xaxis.set_major_locator(FixedLocator(values))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        if sum(len(f"{value:g}") for value in values) > 16:
            ax.tick_params(axis="x", labelrotation=45)
