"""The figures of a report, each with its caption."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from ssl_eval.figures.correlation import correlation_figure
from ssl_eval.figures.curves import MAX_NAMED, epoch_figure, time_figure
from ssl_eval.figures.sweep import sweep_figure
from ssl_eval.metrics.registry import main_accuracy, metric_of, readable, with_unit
from ssl_eval.report.checkpoint_curves import checkpoint_curves
from ssl_eval.report.drawing import Drawing, counted, slug
from ssl_eval.report.evaluation_tables import OfflineProtocol
from ssl_eval.report.metric_selection import ONLINE, Measures, by_dataset, measures_of, offline
from ssl_eval.report.protocol_figures import protocol_figures
from ssl_eval.runs.run_record import RunRecord
from ssl_eval.runs.seed_groups import FIRST_KEYS, RunGroup, setting_names

MAX_PANELS = 4
MIN_SETTINGS = 5  # of a correlation: four orders can agree by chance too easily (p = 1/12)
MIN_VALUES = 3  # of a swept parameter


def drawings(groups: Sequence[RunGroup], protocols: Sequence[OfflineProtocol]) -> list[Drawing]:
    """Return every figure for which these runs have data, learning curves first; data set by data set if there are several."""
    labelled = dict(zip(group_labels(groups), groups))
    found: list[Drawing] = []
    for dataset, members in by_dataset(groups).items():
        named = {label: group for label, group in labelled.items() if group in members}
        own = [each for each in protocols if each.dataset in ("", dataset) or not dataset]
        drawn = [*_online(named, dataset), *_compared(members, own, dataset)]
        for protocol in own:
            suffix = f"_{slug(protocol.name)}" if len(protocols) > 1 else ""
            curve = checkpoint_curves(named, protocol, suffix)
            drawn += [curve] if curve is not None else []
            evaluated = {label: each for label, group in named.items() if (each := protocol.of(group))}
            drawn += protocol_figures(evaluated, offline(protocol), suffix)
        for drawing in drawn:
            drawing.dataset = dataset
        found += drawn
    return _unique(found)


def _online(named: Mapping[str, RunGroup], dataset: str) -> Iterator[Drawing]:
    """Yield the learning curves, and the accuracies against time, of one data set or (empty) of all."""
    trained = {label: group for label, group in named.items() if not group.is_baseline}
    curves = {counted(label, len(group.records)): group.records for label, group in trained.items()}
    end, of = (f"_{slug(dataset)}", f" on {dataset}") if dataset else ("", "")
    band = _band(list(trained.values()))
    if trained:
        caption = f"Learning curves{of}.{band} {ONLINE}"
        yield Drawing(f"learning_curves{end}", caption, lambda: epoch_figure(curves, dataset))
    if any(_minutes_known(group.records) for group in trained.values()):
        caption = (
            f"Accuracy{of} against minutes of training and evaluation: the wall time of the run times the share of its steps, "
            f"assuming equal time per step.{band} {ONLINE}"
        )
        yield Drawing(f"accuracy_against_time{end}", caption, lambda: time_figure(curves, dataset))


def _compared(groups: Sequence[RunGroup], protocols: Sequence[OfflineProtocol], dataset: str) -> Iterator[Drawing]:
    """Yield accuracies against swept parameters, and against measures without labels."""
    measures = measures_of(groups, protocols, dataset)
    trained = [group for group in groups if not group.is_baseline]
    end, of = (f"_{slug(dataset)}", f" on {dataset}") if dataset else ("", "")
    for drawing in [*(_sweeps(trained, measures) if trained else ()), *_correlation(groups, measures)]:
        drawing.name += end
        drawing.caption = drawing.caption.replace("Accuracy against", f"Accuracy{of} against", 1)
        yield drawing


def group_labels(groups: Sequence[RunGroup]) -> list[str]:
    """Return a label of each group: the values that differ, and its name where these are empty or ambiguous."""
    short = setting_names(groups)
    labels = []
    for group in groups:
        parts = [_setting(group, key, short) for key in group.settings] or [group.label]
        if not group.finished:
            parts += [group.label] * bool(group.settings)
            parts[-1] += f" ({group.records[0].status})"
        labels.append(", ".join(parts))
    return [
        label if labels.count(label) == 1 else f"{label}, {group.label} #{number}"
        for number, (label, group) in enumerate(zip(labels, groups), start=1)
    ]


def _setting(group: RunGroup, key: str, short: dict[str, str]) -> str:
    value = group.settings[key]
    return value if key in FIRST_KEYS else f"{short[key]} {value}"


def _minutes_known(records: Sequence[RunRecord]) -> bool:
    return any(record.summary.get("wall_seconds") and record.summary.get("step") for record in records)


def _band(groups: Sequence[RunGroup]) -> str:
    text = ""
    if any(len(group.records) > 1 for group in groups):
        text += " Mean and standard deviation of the runs that differ only in the seed."
    if len(groups) > MAX_NAMED:
        text += f" The {MAX_NAMED} best of {len(groups)} are labelled."
    return text


def _sweeps(groups: Sequence[RunGroup], measures: Measures) -> Iterator[Drawing]:
    """Yield accuracy against each parameter that takes three values or more."""
    accuracies = measures.accuracies[:MAX_PANELS]
    short = setting_names(groups)
    for key in groups[0].settings:
        values = [group.number(key) for group in groups]
        if any(value is None for value in values) or not accuracies:
            continue
        finished = {value for value, group in zip(values, groups) if group.finished and value is not None}
        if len(finished) < MIN_VALUES:
            continue
        others = [name for name in groups[0].settings if name != key]
        panels: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
        for accuracy in accuracies:
            lines: dict[str, list[tuple[float, float, float]]] = {}
            for value, group in zip(values, groups):
                numbers = metric_of(accuracy).factor * torch.tensor(
                    measures.values(group, accuracy), dtype=torch.float64
                )
                if not group.finished or len(numbers) == 0 or value is None:
                    continue
                label = ", ".join(_setting(group, name, short) for name in others)
                spread = float(numbers.std()) if len(numbers) > 1 else 0.0
                lines.setdefault(label, []).append((value, float(numbers.mean()), spread))
            if lines:
                panels[with_unit(accuracy, measures.datasets)] = lines
        unfinished = [value for value, group in zip(values, groups) if not group.finished and value is not None]
        runs = sum(len(group.records) for group in groups if group.finished)
        caption = f"Accuracy against {short[key]}: mean and standard deviation; {runs} finished runs"
        caption += f", {len(unfinished)} unfinished (crosses). " if unfinished else ". "
        if panels:
            yield Drawing(
                f"accuracy_against_{slug(short[key])}",
                caption + measures.caption,
                lambda n=short[key], p=panels, u=unfinished: sweep_figure(n, p, u),  # type: ignore[misc]
            )


def _correlation(groups: Sequence[RunGroup], measures: Measures) -> Iterator[Drawing]:
    """Yield label-free measures against the accuracy, if there are enough settings."""
    accuracy = main_accuracy(measures.names)
    if accuracy is None:
        return
    panels: dict[str, tuple[Tensor, Tensor]] = {}
    for name in measures.names:
        if metric_of(name).kind != "label-free":
            continue
        pairs = []
        for group in groups:
            both = [measures.values(group, each) for each in (name, accuracy)]
            if group.finished and all(both):
                pairs.append([metric_of(each).factor * sum(v) / len(v) for each, v in zip((name, accuracy), both)])
        points = torch.tensor(pairs, dtype=torch.float64).view(-1, 2)
        # Equal means of several runs differ in the last digit: that is no order.
        points = points[torch.isfinite(points).all(1)].round(decimals=9)
        if len(points) >= MIN_SETTINGS and len(points[:, 0].unique()) > 1 and len(points[:, 1].unique()) > 1:
            panels[readable(name, measures.datasets)] = (points[:, 0], points[:, 1])
    if panels:
        caption = (
            "Accuracy against measures without labels, one point per setting (the mean of its runs); Spearman's ρ and "
            f"Kendall's τ over n settings. {measures.caption}"
        )
        yield Drawing(
            "label_free_correlation",
            caption,
            lambda: correlation_figure(panels, with_unit(accuracy, measures.datasets)),
        )


def _unique(found: Sequence[Drawing]) -> list[Drawing]:
    """Number equal names."""
    seen: dict[str, int] = {}
    for drawing in found:
        seen[drawing.name] = seen.get(drawing.name, 0) + 1
        if seen[drawing.name] > 1:
            drawing.name += f"_{seen[drawing.name]}"
    return list(found)
