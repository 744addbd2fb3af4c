"""Tables of offline evaluations: one for each protocol and data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ssl_eval.metrics.registry import accuracies, in_order, metric_of, readable
from ssl_eval.report.metric_cell import metric_cell
from ssl_eval.report.table import Table
from ssl_eval.runs.evaluation_record import EvaluationRecord
from ssl_eval.runs.run_record import RunRecord
from ssl_eval.runs.seed_groups import RunGroup, setting_names
from ssl_eval.statistics.best import RULE, Contestant, best_row


@dataclass(frozen=True)
class OfflineProtocol:
    """One offline protocol on one data set.

    Attributes
    ----------
    evaluation : str
        The name of the evaluations.
    dataset : str
    name : str
        What is printed: ``standard``, or ``standard on digits`` where there are several data sets.
    """

    evaluation: str
    dataset: str
    name: str

    def of(self, group: RunGroup) -> list[EvaluationRecord]:
        """Return the evaluation of each run that has one, of its last checkpoint that was evaluated."""
        found = [self._of_run(record) for record in group.records]
        return [max(evaluations, key=lambda each: each.step) for evaluations in found if evaluations]

    def by_step(self, group: RunGroup) -> dict[int, list[EvaluationRecord]]:
        """Return, for each step at which a run was evaluated, the evaluations of the runs that were, in order."""
        found = [each for record in group.records for each in self._of_run(record)]
        return {step: [e for e in found if e.step == step] for step in sorted({each.step for each in found})}

    def _of_run(self, record: RunRecord) -> list[EvaluationRecord]:
        found = {
            e.step: e for e in record.evaluations.values() if (e.series, e.dataset) == (self.evaluation, self.dataset)
        }
        return list(found.values())


def protocols(groups: Sequence[RunGroup]) -> list[OfflineProtocol]:
    """Return the protocols that at least one run was evaluated by."""
    evaluations = [e for g in groups for r in g.records for e in r.evaluations.values()]
    found = {(evaluation.series, evaluation.dataset): evaluation.protocol for evaluation in evaluations}
    several = len({dataset for _, dataset in found}) > 1
    titles = {key: f"{name} on {key[1]}" if several and key[1] else name for key, name in found.items()}
    shared = [title for title in titles.values() if list(titles.values()).count(title) > 1]
    return [OfflineProtocol(*key, key[0] if title in shared else title) for key, title in titles.items()]


def evaluation_table(protocol: OfflineProtocol, groups: Sequence[RunGroup]) -> Table:
    """Return settings, number of runs and metrics of each group that has been evaluated by a protocol."""
    rows_of = [(group, found) for group in groups if (found := protocol.of(group))]
    metrics = in_order({name for _, found in rows_of for evaluation in found for name in evaluation.metrics})
    settings = ["run", *setting_names(groups).values(), "status", "n", "epoch"]
    rows: list[list[Any]] = []
    for group, found in rows_of:
        rows.append([group.label, *group.settings.values(), group.records[0].status, len(found), _epochs(found)])
        rows[-1] += [_cell(name, found) for name in metrics]
    best = []
    for name in accuracies(metrics):
        top = best_row([_contestant(group, found, name) for group, found in rows_of])
        if top is not None:
            best.append((top, len(settings) + metrics.index(name)))
    notes = [_protocol_note([found for _, found in rows_of], metrics), *_coverage_notes(protocol, groups)]
    if len(rows) > 1 and accuracies(metrics):
        notes.append(RULE if best else f"{RULE} No row does.")
    return Table(f"Evaluated offline: {protocol.name}", [*settings, *map(readable, metrics)], rows, notes, best)


def checkpoint_table(protocol: OfflineProtocol, groups: Sequence[RunGroup]) -> Table | None:
    """Return the metrics of every checkpoint that was evaluated, of the runs with several; None where there are none."""
    steps = [(group, found) for group in groups if len(found := protocol.by_step(group)) > 1]
    if not steps:
        return None
    metrics = in_order({name for _, found in steps for each in found.values() for e in each for name in e.metrics})
    columns = ["run", *setting_names(groups).values(), "step", "epoch", "n", *map(readable, metrics)]
    rows: list[list[Any]] = []
    for group, step, each in ((group, step, each) for group, found in steps for step, each in found.items()):
        rows.append([group.label, *group.settings.values(), step, _epochs(each), len(each)])
        rows[-1] += [_cell(name, each) for name in metrics]
    note = f"Protocol '{protocol.name}': offline, on frozen features of each checkpoint that was evaluated."
    if any(len(each) > 1 for _, found in steps for each in found.values()):
        note += " n runs that differ only in the seed: mean ± standard deviation."
    return Table(f"Every checkpoint: {protocol.name}", columns, rows, [note])


def _contestant(group: RunGroup, found: Sequence[EvaluationRecord], name: str) -> Contestant | None:
    values = values_of(found, name)
    if not group.finished or not values:
        return None
    return Contestant(values, found[0].hits_of(name) if len(found) == 1 else None)


def values_of(found: Sequence[EvaluationRecord], name: str) -> list[float]:
    """Return a metric of each evaluation that has it."""
    return [value for value in (evaluation.value(name) for evaluation in found) if value is not None]


def _cell(name: str, found: Sequence[EvaluationRecord]) -> Any:
    return metric_cell(name, [evaluation.metrics[name] for evaluation in found if evaluation.value(name) is not None])


def _epochs(found: Sequence[EvaluationRecord]) -> str:
    epochs = sorted({evaluation.epoch for evaluation in found if evaluation.epoch is not None})
    return str(epochs[0]) if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]}" if epochs else "–"


def _protocol_note(rows: Sequence[Sequence[EvaluationRecord]], metrics: Sequence[str]) -> str:
    others = [readable(name) for name in metrics if metric_of(name).kind in ("agreement", "error")]
    note = (
        f"Protocol '{rows[0][0].protocol}': offline, on frozen features of each run's last checkpoint that was evaluated; "
        f"{', '.join(['accuracies', *others])} in percent."
    )
    tuned = [e.values.get("settings") for found in rows for e in found if "fine_tuning" in e.values]
    if tuned:
        note += f" Fine-tuning: {_fine_tuning(tuned[0])}."
    if any(len(found) > 1 for found in rows):
        note += " n runs that differ only in the seed: mean ± standard deviation (of the means, if a run has several draws)."
    return note


def _fine_tuning(settings: Any) -> str:
    """Return how backbone and classifier were trained, as far as an evaluation records it."""
    how = settings.get("finetune") if isinstance(settings, dict) else None
    text = "backbone and linear classifier trained on a share of the labels"
    if not isinstance(how, dict):
        return text
    keys = [f"{key.replace('_', ' ')} {how[key]}" for key in ("lr", "layer_decay", "batch_size") if key in how]
    return ", ".join([text, f"{how.get('epochs', '?')} epochs of {how.get('optimizer', '?')}", *keys, "last epoch"])


def _coverage_notes(protocol: OfflineProtocol, groups: Sequence[RunGroup]) -> list[str]:
    """Return notes on runs that were not evaluated, or not at their end, and on differing settings."""
    notes = []
    evaluations = [(group, protocol.of(group)) for group in groups]
    missing = [group.label for group, found in evaluations if not found]
    if missing:
        notes.append(f"Not evaluated: {', '.join(missing)}.")
    for group, found in evaluations:
        if 0 < len(found) < len(group.records):
            notes.append(f"{group.label}: {len(found)} of the {len(group.records)} runs are evaluated.")
        steps = {record.name: record.summary.get("step") for record in group.records}
        for evaluation in found:
            name = evaluation.path.parent.parent.name
            last = steps.get(name)
            if isinstance(last, int) and evaluation.step < last:
                notes.append(f"{name}: evaluated at step {evaluation.step}, the run is at step {last}.")
    settings = [evaluation.values.get("settings") for _, found in evaluations for evaluation in found]
    if any(each != settings[0] for each in settings):
        notes.append("The settings of the protocol are not the same in all runs.")
    return notes
