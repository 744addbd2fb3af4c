"""Figure of the accuracy per class: bars for few classes, dots for many."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ssl_eval.figures.style import COLORS, COLUMN_INCHES, HATCHES, MARKERS, legend_above, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_BARS = 12  # classes; dots for more
MAX_CLASSES = 40  # shown; of more classes the 20 lowest and the 20 highest
MAX_GROUPS = 4  # that a reader can distinguish
MAX_LETTERS = 24  # of a name


def class_figure(names: Sequence[str], groups: Mapping[str, Tensor]) -> "Figure":
    """Return the accuracy of each class.

    Parameters
    ----------
    names : sequence of str
        K classes.
    groups : mapping of str to Tensor
        Label -> ``(runs, K)`` fractions; the mean is drawn, and the sample deviation where there are several runs.
    """
    groups = dict(list(groups.items())[:MAX_GROUPS])
    return _bars(names, groups) if len(names) <= MAX_BARS else _dots(names, groups)


def _bars(names: Sequence[str], groups: Mapping[str, Tensor]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure((COLUMN_INCHES, 1.9), layout="constrained")
    ax = figure.subplots()
    handles = {}
    width = 0.82 / len(groups)
    for number, (label, values) in enumerate(groups.items()):
        mean, deviation = _spread(values)
        x = torch.arange(len(names)) + (number - (len(groups) - 1) / 2) * width
        style: Any = {"color": COLORS[number], "hatch": HATCHES[number], "edgecolor": "white", "linewidth": 0.3}
        handles[label] = ax.bar(x.tolist(), mean, width, yerr=deviation, error_kw={"elinewidth": 0.7}, **style)
    ax.set_xticks(range(len(names)), [shortened(name, MAX_LETTERS) for name in names])
    if max(map(len, names)) > 3:
        ax.tick_params(axis="x", labelrotation=45)
    ax.set_xlabel("class")
    ax.set_ylabel("accuracy (%)")
    ax.grid(visible=False, axis="x")
    ax.set_ylim(0, 100)
    legend_above(figure, handles, COLUMN_INCHES)
    return figure


def _dots(names: Sequence[str], groups: Mapping[str, Tensor]) -> "Figure":
    from matplotlib.figure import Figure

    overall = torch.stack([values.nanmean(0) for values in groups.values()]).nanmean(0)
    order = overall.nan_to_num(nan=2.0).argsort(stable=True).tolist()
    if len(order) > MAX_CLASSES:
        half = MAX_CLASSES // 2
        order = [*order[:half], None, *order[-half:]]
    order.reverse()
    figure = Figure((COLUMN_INCHES, 0.6 + 0.125 * len(order)), layout="constrained")
    ax = figure.subplots()
    handles = {}
    rows = [row for row, k in enumerate(order) if k is not None]
    for number, (label, values) in enumerate(groups.items()):
        mean, deviation = _spread(values[:, [k for k in order if k is not None]])
        handles[label] = ax.errorbar(
            mean, rows, xerr=deviation, fmt=MARKERS[number], color=COLORS[number], elinewidth=0.7, markersize=3.5
        )
    ax.set_yticks(
        range(len(order)), ["⋯" if k is None else shortened(names[k], MAX_LETTERS) for k in order], fontsize=6
    )
    ax.set_ylim(-0.7, len(order) - 0.3)
    ax.set_xlabel("accuracy (%)")
    legend_above(figure, handles, COLUMN_INCHES)
    return figure


def _spread(values: Tensor) -> tuple[list[float], list[float] | None]:
    values = 100 * values
    return values.mean(0).tolist(), values.std(0).tolist() if len(values) > 1 else None
