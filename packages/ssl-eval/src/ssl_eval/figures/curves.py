"""Learning curves: loss and accuracies against the epoch, or accuracies against time."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ssl_eval.figures.style import COLUMN_INCHES, GREY, STYLE, SUFFIXES, NothingToDraw, legend_above, look, paper, save
from ssl_eval.metrics.registry import accuracies, metric_of, readable, with_unit
from ssl_eval.runs.run_record import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

FEW_POINTS = 15  # up to which each point has a marker; longer lines have some markers
MAX_NAMED = 7  # groups with a colour and a legend entry, the best ones; others are grey
LOSS, RATE = "train/loss", "train/lr"

Runs = Sequence[RunRecord | str | Path]
Point = tuple[float, float, float]  # x, mean, deviation


@dataclass
class Panel:
    """One pair of axes: the label of its y axis, and its lines by label."""

    title: str
    lines: dict[str, list[Point]]


def learning_curves(runs: Runs | Mapping[str, Runs], path: str | Path) -> Path:
    """Draw training loss and accuracies against the epoch.

    A single run or group has one panel for all accuracies and a panel for the learning rate; several have one panel for each
    accuracy. For a group of runs, the line is the mean and the band one sample deviation on either side, at the epochs that all
    of them have reached. Of more than seven groups the best seven are named, the others are grey.

    Parameters
    ----------
    runs : sequence of RunRecord, str or Path; or mapping of str to such
        Runs or run folders, labelled by their names; or groups of runs by label.
    path : str or Path
        The file to write, ``.png`` or ``.pdf``; it is replaced atomically.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ImportError
        Without matplotlib.
    ValueError
        If the suffix is neither ``.png`` nor ``.pdf``, a folder is not a run, or no run has a metric to draw
        (:class:`NothingToDraw`).

    Notes
    -----
    The axis has optimizer steps instead of epochs while one of the runs has not finished its first epoch.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"a figure is written as {' or '.join(SUFFIXES)}, got '{path.name}'")
    groups = _groups(runs)
    with paper():
        save(epoch_figure(groups), path)
    return path


def epoch_figure(groups: Mapping[str, Sequence[RunRecord]], dataset: str = "") -> "Figure":
    """Return loss and accuracies against the epoch, or against the step if a run has not finished its first epoch.

    ``dataset``: show accuracies of this data set only; empty: of all.
    """
    records = [record for group in groups.values() for record in group]
    in_epochs = all(record.steps_per_epoch for record in records if record.lines)
    loss = Panel("training loss", {label: _points(group, LOSS, in_epochs) for label, group in groups.items()})
    panels = [
        panel for panel in [loss, *_accuracy_panels(groups, in_epochs, dataset=dataset)] if any(panel.lines.values())
    ]
    if not panels:
        raise NothingToDraw(f"no curve to draw: none of the {len(records)} runs has logged {LOSS} or an accuracy yet")
    if len(groups) == 1:
        rates = {label: _points(group, RATE, in_epochs) for label, group in groups.items()}
        panels += [Panel("learning rate", rates)] * any(rates.values())
    return _draw(panels, _colours(_last_accuracies(groups, dataset)), "epoch" if in_epochs else "optimizer step")


def time_figure(groups: Mapping[str, Sequence[RunRecord]], dataset: str = "") -> "Figure":
    """Return accuracies against the minutes since the start: a step's share of the run's wall seconds.

    ``dataset``: as in :func:`epoch_figure`.
    """
    records = [record for group in groups.values() for record in group]
    panels = [panel for panel in _accuracy_panels(groups, True, True, dataset) if any(panel.lines.values())]
    if not panels:
        raise NothingToDraw(f"none of the {len(records)} runs has logged an accuracy and its wall_seconds yet")
    return _draw(panels, _colours(_last_accuracies(groups, dataset)), "minutes")


def curves_figure(panels: Mapping[str, Mapping[str, list[Point]]], x_label: str) -> "Figure":
    """Return a figure of given curves: title of a panel -> label of a line -> its points.

    Of more than seven labels those with the highest last value in the last panel are named. Each panel has all labels, some
    without points; a single panel may have any number of lines.
    """
    drawn = [Panel(title, dict(lines)) for title, lines in panels.items()]
    last = {label: points[-1][1] if points else -1.0 for label, points in drawn[-1].lines.items()}
    return _draw(drawn, _colours(last), x_label)


def _groups(runs: Runs | Mapping[str, Runs]) -> dict[str, list[RunRecord]]:
    """Return label -> records; runs without groups are one group each, named by the run, or by its path if names repeat."""
    if isinstance(runs, Mapping):
        return {label: [_record(run) for run in group] for label, group in runs.items()}
    records = [_record(run) for run in runs]
    names = [record.name for record in records]
    return {r.name if names.count(r.name) == 1 else str(r.path): [r] for r in records}


def _record(run: RunRecord | str | Path) -> RunRecord:
    return run if isinstance(run, RunRecord) else RunRecord(run)


def _accuracy_panels(
    groups: Mapping[str, Sequence[RunRecord]], in_epochs: bool, minutes: bool = False, dataset: str = ""
) -> list[Panel]:
    names = _accuracies(groups, dataset)
    datasets = len({name.rpartition("/")[0] for name in names})
    if len(groups) == 1:
        (group,) = groups.values()
        lines = {readable(name, datasets): _points(group, name, in_epochs, minutes) for name in names}
        return [Panel("top-1 accuracy (%)", _without_hidden(lines))]
    return [
        Panel(
            with_unit(name, datasets),
            {label: _points(group, name, in_epochs, minutes) for label, group in groups.items()},
        )
        for name in names
    ]


def _without_hidden(lines: Mapping[str, list[Point]]) -> dict[str, list[Point]]:
    """Return lines by label; equal ones, of which only the last would be seen, become one line with all of their labels."""
    labels: dict[tuple[Point, ...], list[str]] = {}
    for label, points in lines.items():
        labels.setdefault(tuple(points), []).append(label)
    return {" = ".join(same): list(points) for points, same in labels.items()}


def _points(group: Sequence[RunRecord], name: str, in_epochs: bool, minutes: bool = False) -> list[Point]:
    """Return mean and deviation over the runs that log ``name``, at the steps at which all of them have a value."""
    values: dict[float, list[tuple[float, float]]] = {}
    curves, factor = 0, metric_of(name).factor
    for record in group:
        steps, ys = record.series(name)
        curves += bool(steps)
        per_epoch = record.steps_per_epoch if in_epochs and record.steps_per_epoch else 1.0
        per_minute = _minutes_per_step(record) if minutes else None
        if minutes and per_minute is None:
            continue
        for step, y in dict(zip(steps, ys)).items():
            at = round(step / per_epoch, 6)
            values.setdefault(at, []).append((at if per_minute is None else step * per_minute, factor * y))
    common = {at: points for at, points in values.items() if len(points) == curves} or values
    return [_mean_point(common[at]) for at in sorted(common)]


def _minutes_per_step(record: RunRecord) -> float | None:
    step, seconds = record.summary.get("step"), record.summary.get("wall_seconds")
    return seconds / 60 / step if step and seconds else None


def _mean_point(points: list[tuple[float, float]]) -> Point:
    numbers = torch.tensor(points, dtype=torch.float64)
    x, mean = numbers.mean(0).tolist()
    return x, mean, float(numbers[:, 1].std()) if len(points) > 1 else 0.0


def _accuracies(groups: Mapping[str, Sequence[RunRecord]], dataset: str) -> list[str]:
    """Return the accuracies that a run has logged, of one data set if it is not empty."""
    names = accuracies(name for group in groups.values() for record in group for name in record.metrics)
    return [name for name in names if not dataset or name.rpartition("/")[0] == dataset]


def _last_accuracies(groups: Mapping[str, Sequence[RunRecord]], dataset: str) -> dict[str, float]:
    """Return label -> mean of the last accuracy in the order of a table; -1 without one."""
    names = _accuracies(groups, dataset)
    values = {
        label: [float(r.metrics[name]) for name in names[-1:] for r in group if name in r.metrics]
        for label, group in groups.items()
    }
    return {label: statistics.fmean(each) if each else -1.0 for label, each in values.items()}


def _colours(last: Mapping[str, float]) -> dict[str, int] | None:
    """Return label -> number of its colour, of the labels with the highest last values; None for a single label."""
    best = sorted(last, key=last.__getitem__, reverse=True)[:MAX_NAMED]
    named = [label for label in last if label in best]
    return {label: number for number, label in enumerate(named)} if len(last) > 1 else None


def _draw(panels: Sequence[Panel], colours: dict[str, int] | None, x_label: str) -> "Figure":
    """Draw the panels, with one legend above."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    columns = 1 if len(panels) <= 2 or colours is None else 2
    rows = -(-len(panels) // columns)
    width = COLUMN_INCHES * columns
    figure = Figure((width, 0.3 + 1.45 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex="col" if columns == 1 else False).flatten()
    handles: dict[str, Any] = {}
    last_x = (
        max(point[0] for panel in panels for points in panel.lines.values() for point in points) or 1
    )  # a single point at 0
    for ax, panel in zip(axes, panels):
        named = colours if colours is not None else {label: number for number, label in enumerate(panel.lines)}
        for label, points in panel.lines.items():
            if label not in named:
                ax.plot([p[0] for p in points], [p[1] for p in points], color=GREY, linewidth=0.6, zorder=1.5)
        for label, number in named.items():
            line = _draw_line(ax, panel.lines[label], label, number, len(panel.lines) == 1)
            if colours is not None or len(panel.lines) > 1:  # a single line is named by the axis
                handles[label] = line
        ax.set_ylabel(panel.title)
        ax.set_xlim(-0.02 * last_x, 1.02 * last_x)
        whole = x_label != "minutes"
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=whole, steps=[1, 2, 5, 10]))
    for ax in axes[len(panels) :]:
        ax.remove()
    figure.align_ylabels()
    if columns == 1:
        axes[len(panels) - 1].set_xlabel(x_label)
    else:
        figure.supxlabel(x_label, fontsize=STYLE["font.size"])
    others = len({label for panel in panels for label in panel.lines}) - len(handles)
    if others and colours is not None:
        handles[f"{others} others"] = axes[0].plot([], [], color=GREY, linewidth=0.6)[0]
    if len(handles) > 1 or colours is not None:
        legend_above(figure, handles, width)
    return figure


def _draw_line(ax: "Axes", points: Sequence[Point], label: str, number: int, alone: bool) -> "Line2D":
    x, mean, deviation = ([point[part] for point in points] for part in range(3))
    few = len(points) <= FEW_POINTS
    style = look(number, markers=few or not alone)
    (line,) = ax.plot(x, mean, label=label, markevery=None if few else 0.15, **style)  # a share of the diagonal
    if any(deviation):
        low, high = ([m + sign * d for m, d in zip(mean, deviation)] for sign in (-1, 1))
        ax.fill_between(x, low, high, color=style["color"], alpha=0.25, linewidth=0)
    return line
