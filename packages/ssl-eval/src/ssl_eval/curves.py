"""Learning curves: loss and accuracies against the epoch, as a figure for a column of a paper."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ssl_eval.metric_names import in_order, is_accuracy, readable
from ssl_eval.run_record import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito: Color Universal Design, 2008; yellow is left out, it is faint on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # lines can be told apart in grey, too
DASHES = ("-", "--", ":")  # for the eighth line, which has the first one's colour, and so on
COLUMN_INCHES = 3.4  # the width of a column in a two-column paper; more than two panels take both
SUFFIXES = (".png", ".pdf")
FEW_POINTS = 15  # of a line, up to which each gets a marker; else they stand some distance apart
LOSS = "train/loss"
STYLE: Any = {  # matplotlib's rcParams
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E0E0E0",
    "grid.linewidth": 0.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.0,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.0,
    "savefig.dpi": 300,
    "savefig.facecolor": "white",  # a README may have a dark page
    "pdf.fonttype": 42,  # TrueType: publishers refuse matplotlib's default Type 3
}

Runs = Sequence[RunRecord | str | Path]
Point = tuple[float, float, float]  # x, mean, deviation


class NothingToDraw(ValueError):
    """No run has logged a loss or an accuracy yet."""


@dataclass
class Panel:
    """One pair of axes: what stands at the ordinate, and its lines by label."""

    title: str
    lines: dict[str, list[Point]]


def learning_curves(runs: Runs | Mapping[str, Runs], path: str | Path) -> Path:
    """Draw training loss and accuracies against the epoch.

    One run, or one group of runs, has its accuracies in one panel; several have one panel for each accuracy. Where runs
    stand in a group, the line is their mean and the band one sample deviation on either side, at the epochs that all of
    them have reached.

    Parameters
    ----------
    runs : sequence of RunRecord, str or Path; or mapping of str to such
        Runs or run folders, each under its own name; or groups of runs by their label.
    path : str or Path
        The file to write, ``.png`` or ``.pdf``; it is replaced at once or not at all.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ImportError
        Without matplotlib.
    ValueError
        If the suffix is another, a folder is no run, or no run has a metric to draw (:class:`NothingToDraw`).

    Notes
    -----
    The axis counts optimizer steps instead of epochs as long as one of the runs has not finished its first epoch.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"a figure is written as {' or '.join(SUFFIXES)}, got '{path.name}'")
    groups = _groups(runs)
    records = [record for group in groups.values() for record in group]
    in_epochs = all(record.steps_per_epoch for record in records if record.lines)
    accuracies = in_order({name for record in records for name in record.metrics if is_accuracy(name)})
    datasets = len({name.rpartition("/")[0] for name in accuracies})
    panels = [Panel("training loss", {label: _points(group, LOSS, in_epochs) for label, group in groups.items()})]
    if len(groups) == 1:
        (group,) = groups.values()
        lines = {readable(name, datasets): _points(group, name, in_epochs, 100) for name in accuracies}
        panels.append(Panel("top-1 accuracy (%)", lines))
    else:
        for name in accuracies:
            lines = {label: _points(group, name, in_epochs, 100) for label, group in groups.items()}
            panels.append(Panel(f"{readable(name, datasets)} (%)".replace(", ", ",\n"), lines))
    panels = [panel for panel in panels if any(panel.lines.values())]
    if not panels:
        raise NothingToDraw(f"no curve to draw: none of the {len(records)} runs has logged {LOSS} or an accuracy yet")
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError(
            "figures need matplotlib: pip install matplotlib (or the extra 'report' of ssl-eval, from the checkout: "
            "pip install './packages/ssl-eval[report]')"
        ) from error
    with matplotlib.rc_context(STYLE):
        _save(_draw(panels, len(groups) > 1, "epoch" if in_epochs else "optimizer step"), path)
    return path


def _groups(runs: Runs | Mapping[str, Runs]) -> dict[str, list[RunRecord]]:
    """Return label -> records; runs that are not in groups are one group each, called by name, or by path if need be."""
    if isinstance(runs, Mapping):
        return {label: [_record(run) for run in group] for label, group in runs.items()}
    records = [_record(run) for run in runs]
    names = [record.name for record in records]
    return {r.name if names.count(r.name) == 1 else str(r.path): [r] for r in records}


def _record(run: RunRecord | str | Path) -> RunRecord:
    return run if isinstance(run, RunRecord) else RunRecord(run)


def _points(group: Sequence[RunRecord], name: str, in_epochs: bool, factor: float = 1.0) -> list[Point]:
    """Return the mean and the deviation over the runs that log ``name``, where all of them have a value."""
    values: dict[float, list[float]] = {}
    curves = 0
    for record in group:
        steps, ys = record.series(name)
        curves += bool(steps)
        per_epoch = record.steps_per_epoch if in_epochs and record.steps_per_epoch else 1.0
        for x, y in dict(zip((round(step / per_epoch, 6) for step in steps), ys)).items():
            values.setdefault(x, []).append(factor * y)
    common = {x: ys for x, ys in values.items() if len(ys) == curves} or values
    return [(x, *_mean_and_deviation(common[x])) for x in sorted(common)]


def _mean_and_deviation(values: list[float]) -> tuple[float, float]:
    numbers = torch.tensor(values, dtype=torch.float64)
    return float(numbers.mean()), float(numbers.std()) if len(values) > 1 else 0.0


def _draw(panels: Sequence[Panel], shared_legend: bool, x_label: str) -> "Figure":
    """Draw the panels under each other, the legend above: one for all panels, or one where a panel has many lines."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    labels = list(dict.fromkeys(label for panel in panels for label in panel.lines))
    columns = 1 if len(panels) <= 2 else 2
    rows = -(-len(panels) // columns)
    legend_columns = columns * (2 if max(map(len, labels)) <= 26 else 1)
    legend_rows = -(-len(labels) // legend_columns)
    size = COLUMN_INCHES * columns, 0.3 + 1.45 * rows + 0.14 * legend_rows
    figure = Figure(size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex="col" if columns == 1 else False).flatten()
    last_x = max(point[0] for panel in panels for points in panel.lines.values() for point in points) or 1  # one at 0
    for ax, panel in zip(axes, panels):
        for place, (label, points) in enumerate(panel.lines.items()):
            number = labels.index(label) if shared_legend else place
            _draw_line(ax, points, label, number, len(panel.lines) == 1)
        ax.set_ylabel(panel.title)
        ax.set_xlim(-0.02 * last_x, 1.02 * last_x)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
        if not shared_legend and len(panel.lines) > 1:
            ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=legend_columns)
    for ax in axes[len(panels) :]:
        ax.remove()
    figure.align_ylabels()
    if columns == 1:
        axes[-1].set_xlabel(x_label)
    else:
        figure.supxlabel(x_label, fontsize=STYLE["font.size"])
    if shared_legend:
        handles = {line.get_label(): line for ax in axes for line in ax.get_lines()}
        figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=legend_columns)
    return figure


def _draw_line(ax: "Axes", points: Sequence[Point], label: str, number: int, alone: bool) -> None:
    x, mean, deviation = ([point[part] for point in points] for part in range(3))
    color = COLORS[number % len(COLORS)]
    few = len(points) <= FEW_POINTS
    ax.plot(
        x,
        mean,
        color=color,
        label=label,
        linestyle=DASHES[number // len(COLORS) % len(DASHES)],
        marker=MARKERS[number % len(MARKERS)] if few or not alone else None,
        markevery=None if few else 0.15,  # of the diagonal
    )
    if any(deviation):
        low, high = ([m + sign * d for m, d in zip(mean, deviation)] for sign in (-1, 1))
        ax.fill_between(x, low, high, color=color, alpha=0.25, linewidth=0)


def _save(figure: "Figure", path: Path) -> None:
    # Written beside and then renamed: a reader never sees half a figure. No date inside: equal runs, equal files.
    temporary = path.with_name(f".{path.name}.tmp")
    metadata = {"CreationDate": None} if path.suffix == ".pdf" else {"Software": None}
    try:
        figure.savefig(temporary, format=path.suffix[1:], metadata=metadata)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
