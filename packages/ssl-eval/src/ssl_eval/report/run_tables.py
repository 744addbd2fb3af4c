"""The tables of a report: one row for each group of runs."""

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ssl_eval.metrics.registry import in_order, is_accuracy, readable
from ssl_eval.report.metric_cell import metric_cell
from ssl_eval.report.table import Table, mean_and_std
from ssl_eval.runs.live_run import STALE_MINUTES
from ssl_eval.runs.run_record import RunRecord
from ssl_eval.runs.seed_groups import RunGroup, flatten, seed_of, setting_names
from ssl_eval.statistics.best import RULE, Contestant, best_row


def summary_table(groups: Sequence[RunGroup], left_out: Sequence[str] = ()) -> Table:
    """Return settings, status, number of runs, last metrics and cost of each group.

    Parameters
    ----------
    groups : sequence of RunGroup
        As :func:`ssl_eval.runs.seed_groups.group_runs` makes them.
    left_out : sequence of str
        Keys that differ and have no column; they are named in a note.
    """
    names = {name for group in groups for record in group.records for name in record.metrics}
    metrics = in_order(name for name in names if not name.startswith("train/"))
    datasets = sorted({name.rpartition("/")[0] for name in metrics})
    settings = ["run", *setting_names(groups).values(), "status", "n"]
    columns = [*settings, *(readable(name, len(datasets)) for name in metrics), "minutes", "images/s"]
    rows = []
    for group in groups:
        cells = [metric_cell(name, group.values(name)) for name in metrics]
        cost = [_mean_of(group, "wall_seconds", "{:.1f}", 60), _mean_of(group, "images_per_second", "{:.0f}")]
        rows.append([group.label, *group.settings.values(), _status(group), len(group.records), *cells, *cost])
    best = [
        (row, place) for place, name in enumerate(metrics, len(settings)) if (row := _best(groups, name)) is not None
    ]
    notes = _notes(groups, left_out, metrics) + [RULE] * bool(best)
    runs = sum(len(group.records) for group in groups)
    title = f"{runs} run{'s' * (runs > 1)}" + (f" on {', '.join(datasets)}" if datasets else "")
    return Table(title, columns, rows, notes, best)


def final_tables(groups: Sequence[RunGroup]) -> list[Table]:
    """Return the tables that the runs wrote at their end, averaged over each group; one for each set of columns."""
    by_columns: dict[tuple[str, ...], list[RunGroup]] = {}
    for group in groups:
        tables = [record.table for record in group.records]
        if group.finished and tables[0] is not None and len({_shape(table) for table in tables}) == 1:
            by_columns.setdefault(tuple(tables[0].columns), []).append(group)
    return [_final_table(columns, members) for columns, members in by_columns.items()]


def every_run(groups: Sequence[RunGroup]) -> Table:
    """Return one row for each run: path, settings, seed, status and error."""
    columns = ["folder", *setting_names(groups).values(), "seed", "status", "epoch", "minutes", "error"]
    rows: list[list[Any]] = []
    for record, settings in [(record, group.settings) for group in groups for record in group.records]:
        seconds, error, seed = record.summary.get("wall_seconds"), record.summary.get("error"), seed_of(record)
        rows.append([str(record.path), *settings.values(), None if seed is None else str(seed), record.status])
        rows[-1] += [str(record.epoch), None if seconds is None else f"{seconds / 60:.1f}"]
        rows[-1] += [None if error is None else " ".join(str(error).split())]
    return Table("Every run", columns, rows)


def _final_table(columns: Sequence[str], groups: Sequence[RunGroup]) -> Table:
    rows: list[list[Any]] = []
    notes: dict[str, None] = {}
    for group in groups:
        tables = [record.table for record in group.records if record.table is not None]
        notes |= dict.fromkeys(note for table in tables for note in table.notes)
        for same in zip(*(table.rows for table in tables)):
            cells = [_average(cell) for cell in zip(*(row[1:] for row in same))]
            rows.append([group.label, *group.settings.values(), same[0][0], len(tables), *cells])
    if any(len(group.records) > 1 for group in groups):
        note = "If n is above 1: mean ± standard deviation over n runs (of the means, if a run has several draws)."
        notes[note] = None
    heading = ["run", *setting_names(groups).values(), columns[0] or "features", "n", *columns[1:]]
    return Table("At the end of the runs", heading, rows, list(notes))


def _shape(table: Table | None) -> Any:
    return None if table is None else (tuple(table.columns), tuple(row[0] for row in table.rows))


def _average(cells: Sequence[Any]) -> Any:
    """Return the one cell there is, or the mean and the deviation of several."""
    if len(cells) == 1:
        return cells[0]
    values = [cell["mean"] if isinstance(cell, Mapping) else cell for cell in cells]
    if all(isinstance(value, float) for value in values):
        mean, std = mean_and_std(values)
        return {"mean": mean, "std": std, "n": len(values)}
    return values[0] if len(set(values)) == 1 else None


def _best(groups: Sequence[RunGroup], name: str) -> int | None:
    if not is_accuracy(name):
        return None
    return best_row([Contestant(group.values(name)) if group.finished else None for group in groups])


def _mean_of(group: RunGroup, key: str, form: str, unit: float = 1) -> str | None:
    values = [record.summary[key] for record in group.records if record.summary.get(key) is not None]
    return form.format(statistics.fmean(values) / unit) if values else None


def _status(group: RunGroup) -> str:
    if group.finished:
        return group.records[0].status
    (record,) = group.records
    epochs = flatten(record.config).get("optim.epochs")
    return f"{record.status}, epoch {record.epoch}" + (f" of {epochs}" if epochs is not None else "")


def _notes(groups: Sequence[RunGroup], left_out: Sequence[str], metrics: Sequence[str]) -> list[str]:
    notes = [
        "Last evaluation of each run, not its best; top-1 accuracy in percent, kNN and probes as evaluated in training."
    ]
    if any(len(group.records) > 1 for group in groups):
        notes.append("n finished runs that differ only in the seed: mean ± standard deviation.")
    if left_out:
        notes.append(f"Also different, but determined by the columns: {', '.join(left_out)}.")
    for group in groups:
        for seed in group.repeated_seeds():
            notes.append(f"{group.label}: standard deviation is underestimated: seed {seed} is repeated.")
        for name in metrics:
            count = len(group.values(name))
            if 0 < count < len(group.records):
                notes.append(f"{group.label}: {count} of the {len(group.records)} runs have {name}.")
        for record in group.records:
            notes += _trouble(record, group.label)
    return notes


def _trouble(record: RunRecord, label: str) -> list[str]:
    minutes = (time.time() - record.last_written) / 60
    if record.status == "running" and minutes > STALE_MINUTES:
        return [f"{label}: status running, but nothing was written for {minutes:.0f} minutes; it may have been killed."]
    if record.summary.get("error"):
        return [f"{label}: {record.status}: {' '.join(str(record.summary['error']).split())}"]
    return []
