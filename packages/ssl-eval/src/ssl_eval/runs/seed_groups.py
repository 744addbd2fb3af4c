"""Groups of runs that differ only in the seed, and the keys in which groups differ."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ssl_eval.runs.run_record import ENDED_WELL, RunRecord

# These change where a run is written, how it is shown or how fast it is, but no result.
IGNORED_GROUPS = ("log",)
IGNORED_KEYS = ("data.num_workers", "hardware.num_threads")
FIRST_KEYS = ("model.name", "data.dataset")  # the columns that a reader looks for first
MAX_COLUMNS = 6  # of settings; above, those that follow from others are omitted, and named in a note
ABSENT = "–"


@dataclass
class RunGroup:
    """Runs with the same settings; more than one only where all have finished.

    Attributes
    ----------
    label : str
        The names of the runs, ``simclr_seed*`` for three of them.
    settings : dict of str to str
        Key -> value as text, the keys that differ within the report.
    records : list of RunRecord
        At least one.
    """

    label: str
    settings: dict[str, str]
    records: list[RunRecord]

    @property
    def finished(self) -> bool:
        """Whether all runs are finished or baselines."""
        return all(record.status in ENDED_WELL for record in self.records)

    @property
    def is_baseline(self) -> bool:
        return self.records[0].status == "baseline"

    def values(self, name: str) -> list[float]:
        """Return the last value of a metric in each run that has it."""
        return [float(r.metrics[name]) for r in self.records if r.metrics.get(name) is not None]

    def number(self, key: str) -> float | None:
        """Return a setting that is a number; None for any other."""
        value = flatten(self.records[0].config).get(key)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def repeated_seeds(self) -> list[str]:
        """Return the seeds that more than one run has."""
        seeds = [str(seed_of(record)) for record in self.records]
        return sorted({seed for seed in seeds if seeds.count(seed) > 1})


def group_runs(records: Sequence[RunRecord]) -> tuple[list[RunGroup], list[str]]:
    """Group finished runs that differ only in the seed; every other run is a separate group.

    Parameters
    ----------
    records : sequence of RunRecord
        In the order of the report.

    Returns
    -------
    groups : list of RunGroup
        In the order of the first run with the same settings, finished ones before unfinished ones.
    left_out : list of str
        Keys that differ as well, but whose values follow from those in ``settings``.
    """
    configs = [flatten(record.config) for record in records]
    keys, left_out = _columns(configs, differing_keys(configs))
    names = _names(records)
    together: dict[tuple[str, ...], dict[Any, list[int]]] = {}
    for number, (record, config) in enumerate(zip(records, configs)):
        settings = tuple(as_text(config.get(key, ABSENT)) for key in (*keys, *left_out))
        inner = "finished" if record.status in ENDED_WELL else number
        together.setdefault(settings, {}).setdefault(inner, []).append(number)
    groups = []
    for settings, rows in together.items():
        for _, numbers in sorted(rows.items(), key=lambda row: (row[0] != "finished", row[1])):
            called = [names[number] for number in numbers]
            if len(rows) == 1:  # the columns have the settings that are in the names of a sweep's runs
                called = list(dict.fromkeys(map(_without_settings, called)))
            label = _pattern(called)
            groups.append(RunGroup(label, dict(zip(keys, settings)), [records[number] for number in numbers]))
    return groups, left_out


def _without_settings(name: str) -> str:
    """Return ``simclr_digits`` of ``simclr_digits-lr=0.1,seed=1``."""
    return re.sub(r"-[A-Za-z_][\w.]*=.*", "", name) or name


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return ``{"optim.lr": 0.1, ...}`` of nested dicts; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f"{name}."))
        else:
            flat[name] = value
    return flat


def differing_keys(configs: Sequence[dict[str, Any]]) -> list[str]:
    """Return the keys whose value is not the same in all flat configurations, in their order, the seed left out."""
    keys = dict.fromkeys(key for config in configs for key in config)
    return [
        key
        for key in keys
        if key.split(".")[0] not in IGNORED_GROUPS
        and key not in IGNORED_KEYS
        and key.split(".")[-1] != "seed"
        and len({as_text(config.get(key, ABSENT)) for config in configs}) > 1
    ]


def as_text(value: Any) -> str:
    """Return a setting as a table shows it."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(value, default=str)


def setting_names(groups: Sequence[RunGroup]) -> dict[str, str]:
    """Return the keys of the settings and their names in a heading.

    ``lr`` for ``optim.lr`` where no other key ends so; ``name`` alone is ambiguous: ``model``.
    """
    keys = groups[0].settings
    last = [key.split(".")[-1] for key in keys]
    short = {}
    for key, name in zip(keys, last):
        if name == "name" and key.count(".") == 1:
            name = key.split(".")[0]
        short[key] = name if last.count(name) <= 1 else key
    return short


def seed_of(record: RunRecord) -> Any:
    """Return the seed from the summary or the configuration."""
    if "seed" in record.summary:
        return record.summary["seed"]
    return next((value for key, value in flatten(record.config).items() if key.split(".")[-1] == "seed"), None)


def _columns(configs: Sequence[dict[str, Any]], keys: list[str]) -> tuple[list[str], list[str]]:
    """Return the keys to show and, if there are many, the keys that follow from the others."""
    keys = sorted(keys, key=lambda key: FIRST_KEYS.index(key) if key in FIRST_KEYS else len(FIRST_KEYS))
    if len(keys) <= MAX_COLUMNS:
        return keys, []
    kept: list[str] = []
    implied: list[str] = []
    for key in keys:
        before = {tuple(as_text(c.get(k, ABSENT)) for k in kept) for c in configs}
        after = {tuple(as_text(c.get(k, ABSENT)) for k in (*kept, key)) for c in configs}
        (kept if len(after) > len(before) else implied).append(key)
    return kept, implied


def _names(records: Sequence[RunRecord]) -> list[str]:
    """Return the folders' names, or relative paths if names repeat."""
    names = [record.name for record in records]
    if len(set(names)) == len(names):
        return names
    paths = [str(record.path.resolve()) for record in records]
    return [os.path.relpath(path, os.path.commonpath(paths)) for path in paths]


def _pattern(names: Sequence[str]) -> str:
    """Return ``run_seed*`` for ``run_seed0``, ``run_seed1``; the names themselves if they have too little in common."""
    if len(names) == 1:
        return names[0]
    start = _common_start(names)
    end = _common_start([name[len(start) :][::-1] for name in names])[::-1]
    if len(start) + len(end) >= 3:
        return f"{start}*{end}"
    return ", ".join(names) if len(names) <= 4 else f"{names[0]}, {names[1]}, ..., {names[-1]}"


def _common_start(names: Sequence[str]) -> str:
    same = 0
    while all(len(name) > same and name[same] == names[0][same] for name in names):
        same += 1
    return names[0][:same]
