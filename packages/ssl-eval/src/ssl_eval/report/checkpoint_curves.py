"""Offline accuracies over the checkpoints of a run, if several were evaluated."""

import torch

from ssl_eval.figures.curves import MAX_NAMED, Point, curves_figure
from ssl_eval.metrics.registry import in_order, metric_of, readable, with_unit
from ssl_eval.report.drawing import Drawing, counted
from ssl_eval.report.evaluation_tables import OfflineProtocol, values_of
from ssl_eval.runs.evaluation_record import EvaluationRecord
from ssl_eval.runs.seed_groups import RunGroup

MAX_PANELS = 4
Steps = dict[int, list[EvaluationRecord]]  # step -> the evaluations of the runs of a group


def checkpoint_curves(named: dict[str, RunGroup], protocol: OfflineProtocol, suffix: str) -> Drawing | None:
    """Return the figure; None where no run has two checkpoints that were evaluated.

    Parameters
    ----------
    named : dict
        Label -> group.
    protocol : OfflineProtocol
        Whose evaluations are drawn.
    suffix : str
        Suffix of the figure's name.
    """
    steps = {counted(label, len(group.records)): protocol.by_step(group) for label, group in named.items()}
    steps = {label: found for label, found in steps.items() if len(found) > 1}
    accuracies = _accuracies(steps)
    if not accuracies:
        return None
    in_epochs = all(_tells_epochs(found) for found in steps.values())
    x_label = "epoch" if in_epochs else "optimizer step"
    points = {name: {label: _points(found, name, in_epochs) for label, found in steps.items()} for name in accuracies}
    if len(steps) == 1:
        (label,) = steps
        panels = {"top-1 accuracy (%)": {readable(name): lines[label] for name, lines in points.items()}}
    else:
        panels = {with_unit(name): lines for name, lines in points.items()}
    caption = f"Accuracy of frozen features against the {x_label} of the checkpoint."
    if any(len(each) > 1 for found in steps.values() for each in found.values()):
        caption += " Mean and standard deviation of the runs that differ only in the seed, if all were evaluated."
    if len(steps) > MAX_NAMED:
        caption += f" The {MAX_NAMED} best of {len(steps)} are labelled."
    caption += f" Protocol: {protocol.name}, offline on every checkpoint that was evaluated."
    return Drawing(f"accuracy_over_checkpoints{suffix}", caption, lambda: curves_figure(panels, x_label))


def _accuracies(steps: dict[str, Steps]) -> list[str]:
    """Return the names that are drawn: of kNN the first, the linear probe and that of few labels, fine-tuning."""
    known = {name for found in steps.values() for each in found.values() for e in each for name in e.metrics}
    ordered = [
        name
        for name in in_order(known)
        if metric_of(name).name in ("knn", "linear", "fine_tuning") and "_top" not in name
    ]
    neighbours = [name for name in ordered if metric_of(name).name == "knn"]
    return [name for name in ordered if name not in neighbours[1:]][:MAX_PANELS]


def _tells_epochs(found: Steps) -> bool:
    """Return whether each checkpoint is of another epoch."""
    epochs = [each[0].epoch for each in found.values()]
    return None not in epochs and len(set(epochs)) == len(epochs)


def _points(found: Steps, name: str, in_epochs: bool) -> list[Point]:
    """Return the mean and the deviation over the runs, at the checkpoints of all of them (any, where they share none)."""
    values = {step: values_of(each, name) for step, each in found.items()}
    most = max(map(len, values.values()))
    points = []
    for step, numbers in values.items():
        if numbers and len(numbers) == most:
            printed = metric_of(name).factor * torch.tensor(numbers, dtype=torch.float64)
            x = found[step][0].epoch if in_epochs else step
            points.append((float(x or 0), float(printed.mean()), float(printed.std()) if len(numbers) > 1 else 0.0))
    return points
