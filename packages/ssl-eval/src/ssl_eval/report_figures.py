"""The figures of a report: what can be drawn of these runs, each with its caption."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from ssl_eval.calibration import Reliability
from ssl_eval.evaluation_record import EvaluationRecord
from ssl_eval.evaluation_tables import OfflineProtocol
from ssl_eval.figures.calibration import reliability_figure
from ssl_eval.figures.class_bars import MOST_CLASSES, MOST_GROUPS, class_figure
from ssl_eval.figures.confusion import confusion_figure, worst_confusions
from ssl_eval.figures.correlation import correlation_figure
from ssl_eval.figures.curves import MOST_NAMED, epoch_figure, time_figure
from ssl_eval.figures.embedding import map_figure
from ssl_eval.figures.spectrum import spectrum_figure
from ssl_eval.figures.sweep import sweep_figure
from ssl_eval.groups import FIRST_KEYS, RunGroup, short_names
from ssl_eval.measures import ONLINE, Measures, measures_of, offline
from ssl_eval.metric_names import is_label_free
from ssl_eval.run_record import RunRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T = TypeVar("T")
MOST_PANELS = 4
LEAST_SETTINGS = 5  # of a correlation: four orders can agree by chance too easily (p = 1/12)
LEAST_VALUES = 3  # of a swept parameter


@dataclass
class Drawing:
    """A figure that can be drawn.

    Attributes
    ----------
    name : str
        Of its file, without suffix.
    caption : str
        What it shows, of how many runs, by which protocol.
    draw : callable
        Returns the figure; :class:`~ssl_eval.figures.style.NothingToDraw` where there is nothing.
    """

    name: str
    caption: str
    draw: Callable[[], "Figure"]


def drawings(groups: Sequence[RunGroup], protocols: Sequence[OfflineProtocol]) -> list[Drawing]:
    """Return every figure that these runs have numbers for, learning curves first."""
    labels = group_labels(groups)
    curves = {_counted(label, len(group.records)): group.records for label, group in zip(labels, groups)}
    found = [
        Drawing("learning_curves", f"Learning curves.{_band(groups)} {ONLINE}", lambda: epoch_figure(curves)),
        Drawing(
            "accuracy_against_time",
            f"Accuracy against minutes of training and evaluation, a step's share of the run's wall time.{_band(groups)} "
            f"{ONLINE}",
            lambda: time_figure(curves),
        ),
    ]
    if not any(_minutes_known(group.records) for group in groups):
        del found[1]
    measures = measures_of(groups, protocols)
    found += _sweeps(groups, measures)
    found += _correlation(groups, measures)
    for protocol in protocols:
        suffix = f"_{slug(protocol.name)}" if len(protocols) > 1 else ""
        named = {label: evaluations for label, group in zip(labels, groups) if (evaluations := protocol.of(group))}
        found += _protocol_figures(named, offline(protocol), suffix)
    return _unique(found)


def group_labels(groups: Sequence[RunGroup]) -> list[str]:
    """Return what differs of each group, or its name where nothing does; what two would share has the name as well."""
    short = short_names(list(groups[0].settings))
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


def _counted(label: str, runs: int) -> str:
    return f"{label} (n={runs})" if runs > 1 else label


def _minutes_known(records: Sequence[RunRecord]) -> bool:
    return any(record.summary.get("wall_seconds") and record.summary.get("step") for record in records)


def _band(groups: Sequence[RunGroup]) -> str:
    text = ""
    if any(len(group.records) > 1 for group in groups):
        text += " Mean and sample deviation of the runs that differ in the seed alone."
    if len(groups) > MOST_NAMED:
        text += f" The {MOST_NAMED} best of {len(groups)} are named."
    return text


def _sweeps(groups: Sequence[RunGroup], measures: Measures) -> Iterator[Drawing]:
    """Yield accuracy against each parameter that takes three values or more."""
    accuracies = measures.accuracies[:MOST_PANELS]
    short = short_names(list(groups[0].settings))
    for key in groups[0].settings:
        values = [group.number(key) for group in groups]
        if any(value is None for value in values) or not accuracies:
            continue
        finished = {value for value, group in zip(values, groups) if group.finished and value is not None}
        if len(finished) < LEAST_VALUES:
            continue
        others = [name for name in groups[0].settings if name != key]
        panels: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
        for accuracy in accuracies:
            lines: dict[str, list[tuple[float, float, float]]] = {}
            for value, group in zip(values, groups):
                numbers = 100 * torch.tensor(measures.values(group, accuracy), dtype=torch.float64)
                if not group.finished or len(numbers) == 0 or value is None:
                    continue
                label = ", ".join(_setting(group, name, short) for name in others)
                spread = float(numbers.std()) if len(numbers) > 1 else 0.0
                lines.setdefault(label, []).append((value, float(numbers.mean()), spread))
            if lines:
                panels[measures.readable(accuracy)] = lines
        unfinished = [value for value, group in zip(values, groups) if not group.finished and value is not None]
        runs = sum(len(group.records) for group in groups if group.finished)
        caption = f"Accuracy against {short[key]}: mean and sample deviation; {runs} finished runs"
        caption += f", {len(unfinished)} that did not finish (crosses). " if unfinished else ". "
        if panels:
            yield Drawing(
                f"accuracy_against_{slug(short[key])}",
                caption + measures.caption,
                lambda n=short[key], p=panels, u=unfinished: sweep_figure(n, p, u),  # type: ignore[misc]
            )


def _correlation(groups: Sequence[RunGroup], measures: Measures) -> Iterator[Drawing]:
    """Yield how measures without labels go with the accuracy, where there are enough settings."""
    accuracy = measures.main_accuracy
    if accuracy is None:
        return
    panels: dict[str, tuple[Tensor, Tensor]] = {}
    for name in filter(is_label_free, measures.names):
        pairs = []
        for group in groups:
            both = [measures.values(group, each) for each in (name, accuracy)]
            if group.finished and all(both):
                pairs.append([sum(values) / len(values) for values in both])
        points = torch.tensor(pairs, dtype=torch.float64).view(-1, 2)
        points = points[torch.isfinite(points).all(1)]
        if len(points) >= LEAST_SETTINGS and len(points[:, 0].unique()) > 1 and len(points[:, 1].unique()) > 1:
            panels[measures.readable(name)] = (points[:, 0], points[:, 1])
    if panels:
        caption = (
            "Measures without labels against accuracy, a point for each setting (the mean of its runs); Spearman's ρ and "
            f"Kendall's τ over n settings. {measures.caption}"
        )
        yield Drawing(
            "label_free_correlation", caption, lambda: correlation_figure(panels, measures.readable(accuracy))
        )


def _protocol_figures(named: dict[str, list[EvaluationRecord]], protocol: str, suffix: str) -> Iterator[Drawing]:
    """Yield what one protocol has numbers for."""
    yield from _per_class(named, protocol, suffix)
    for label, found in _top(named, "confusion"):
        counts = torch.stack([e.confusion for e in found if e.confusion is not None]).sum(0)
        names = found[0].class_names
        worst = "; ".join(worst_confusions(counts, names))
        caption = (
            f"Confusion matrix{_of(label, named)}, {_runs(found)}: rows are classes, columns predictions, the colour "
        )
        caption += f"the square root of the share. Most often mistaken: {worst or 'none'}. {protocol}"
        yield Drawing(
            f"confusion_matrix{_name(label, named)}{suffix}",
            caption,
            lambda c=counts, n=names: confusion_figure(c, n),  # type: ignore[misc]
        )
    reliabilities = {_counted(label, len(found)): _pooled(found) for label, found in _top(named, "reliability")}
    if reliabilities:
        caption = (
            f"Reliability: how often a prediction is right, against its confidence; samples of all runs. {protocol}"
        )
        yield Drawing(f"reliability{suffix}", caption, lambda: reliability_figure(_unnamed(reliabilities)))
    spectra = {
        _counted(label, len(found)): [e.spectrum for e in found if e.spectrum is not None]
        for label, found in _top(named, "spectrum")
    }
    if spectra:
        caption = (
            "Spectrum of the features: eigenvalues of their covariance over the largest; geometric mean and range of the runs. "
            + protocol
        )
        yield Drawing(f"spectrum{suffix}", caption, lambda: spectrum_figure(_unnamed(spectra)))
    for label, found in _top(named, "maps"):
        first = found[0]
        caption = (
            f"Map of the embedding{_of(label, named)}, run {first.path.parent.parent.name}, {len(first.map_labels):,} samples; "
            f"colours are classes. {protocol}"
        )
        yield Drawing(
            f"embedding{_name(label, named)}{suffix}",
            caption,
            lambda e=first: map_figure(e.maps, e.map_labels, e.class_names),  # type: ignore[misc]
        )


def _per_class(named: dict[str, list[EvaluationRecord]], protocol: str, suffix: str) -> Iterator[Drawing]:
    bars = {
        label: torch.stack([e.per_class for e in found if e.per_class is not None])
        for label, found in _top(named, "per_class")
    }
    if not bars:
        return
    names = next(found for _, found in _top(named, "per_class"))[0].class_names
    bars = {label: values for label, values in list(bars.items())[:MOST_GROUPS] if values.shape[1] == len(names)}
    caption = "Accuracy of each class" + (
        ": mean and sample deviation of the runs" if any(len(b) > 1 for b in bars.values()) else ""
    )
    if len(names) > MOST_CLASSES:
        caption += f"; the {MOST_CLASSES // 2} lowest and the {MOST_CLASSES // 2} highest of {len(names)}"
    if len(named) > len(bars):
        caption += f"; the {len(bars)} best of {len(named)} settings"
    yield Drawing(f"per_class{suffix}", f"{caption}. {protocol}", lambda: class_figure(names, _unnamed(bars)))


def _top(
    named: dict[str, list[EvaluationRecord]], part: str, most: int = MOST_NAMED
) -> list[tuple[str, list[EvaluationRecord]]]:
    """Return label and the evaluations that have a part, of the settings with the highest accuracies, in their order.

    Those of other classes than the first's are left out: they would not stand beside each other.
    """
    having = {label: [e for e in found if _has(e, part)] for label, found in named.items()}
    classes = next((e.class_names for found in having.values() for e in found), [])
    having = {label: [e for e in found if e.class_names == classes] for label, found in having.items()}
    having = {label: found for label, found in having.items() if found}

    def accuracy(label: str) -> float:
        values = [max((e.value(name) or 0.0 for name in ("linear", "knn_20")), default=0.0) for e in having[label]]
        return sum(values) / len(values)

    best = sorted(having, key=accuracy, reverse=True)[:most]
    return [(label, found) for label, found in having.items() if label in best]


def _has(evaluation: EvaluationRecord, part: str) -> bool:
    value = getattr(evaluation, part)
    return value is not None and len(value) > 0


def _pooled(found: Sequence[EvaluationRecord]) -> Reliability:
    """Return one diagram of the samples of several runs."""
    parts = [e.reliability for e in found if e.reliability is not None]
    count = torch.stack([part[2] for part in parts]).sum(0)
    means = [torch.stack([part[i].nan_to_num() * part[2] for part in parts]).sum(0) / count for i in (0, 1)]
    return Reliability(means[0], means[1], count)


def _unnamed(named: dict[str, T]) -> dict[str, T]:
    """Return a setting that stands alone without its name: there is nothing to tell it from."""
    return {"": next(iter(named.values()))} if len(named) == 1 else named


def _runs(found: Sequence[EvaluationRecord]) -> str:
    return f"{len(found)} runs together" if len(found) > 1 else "one run"


def _of(label: str, named: Mapping[str, object]) -> str:
    return f" of {label}" if len(named) > 1 else ""


def _name(label: str, named: Mapping[str, object]) -> str:
    return f"_{slug(label)}" if len(named) > 1 else ""


def slug(text: str) -> str:
    """Return text as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9.]+", "_", text).strip("_.")[:60] or "unnamed"


def _unique(found: Sequence[Drawing]) -> list[Drawing]:
    """Number names that stand twice."""
    seen: dict[str, int] = {}
    for drawing in found:
        seen[drawing.name] = seen.get(drawing.name, 0) + 1
        if seen[drawing.name] > 1:
            drawing.name += f"_{seen[drawing.name]}"
    return list(found)
