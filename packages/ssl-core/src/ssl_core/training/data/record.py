"""The record of the data that a run is trained on: in ``summary.json`` and in each checkpoint, compared on resume."""

import json
from typing import Any

from ssl_core.checkpoint.store import CheckpointStore
from ssl_core.distributed.ranks import Distributed
from ssl_core.errors import ConfigError, RunFolderError
from ssl_core.run.folder import RunFolder

Record = dict[str, dict[str, Any]]  # name of a part, such as "train" -> num_samples, class_names, digests


def record_data(loaders: Any, folder: RunFolder, checkpoints: CheckpointStore, ranks: Distributed) -> Record:
    """Return the record of the data, on every rank; empty where the loaders have no ``fingerprint()``.

    Raises
    ------
    ConfigError
        If ``fingerprint()`` does not return a dict of dicts of plain values.
    RunFolderError
        On every rank, if the folder has a checkpoint of a run on other data. Nothing is written before.
    """
    record: Record = {}
    before: Any = None
    if ranks.is_main:
        record = fingerprint_of(loaders)
        if checkpoints.all():
            summary = folder.read_summary()
            before = summary["datasets"] if "datasets" in summary else checkpoints.recorded_data()
    record, before = ranks.broadcast((record, before))
    changes = data_changes(before, record)
    if changes:
        raise RunFolderError(
            f"log.run={folder.path.name!r}: the data of the run '{folder.path}' has changed: {'; '.join(changes)}; restore the "
            "data, or start another run with log.run=NAME"
        )
    return record


def data_changes(before: Any, now: Record) -> list[str]:
    """Return a phrase for each difference between two records; parts that only one of them has are not compared.

    Examples
    --------
    >>> data_changes({"train": {"num_samples": 1200}}, {"train": {"num_samples": 1201}})
    ['train has 1,201 samples, was 1,200']
    """
    changes = []
    for part, values in now.items():
        earlier = before.get(part) if isinstance(before, dict) else None
        if not isinstance(earlier, dict):
            continue
        different = [key for key in values if key in earlier and _text(earlier[key]) != _text(values[key])]
        plain = [key for key in different if key in ("num_samples", "class_names")]
        for key in plain or different:  # other digests only repeat that there are more samples, or other classes
            changes.append(f"{part} has {_difference(key, earlier[key], values[key])}")
    return changes


def _text(value: Any) -> str:
    return json.dumps(value, default=repr)  # a forged checkpoint may hold tensors, which do not compare to a bool


def _difference(key: str, before: Any, now: Any) -> str:
    if key == "num_samples" and isinstance(before, int) and isinstance(now, int):
        return f"{now:,} samples, was {before:,}"
    if key == "class_names" and isinstance(before, list) and isinstance(now, list):
        added, removed = [name for name in now if name not in before], [name for name in before if name not in now]
        phrases = [
            f"{what} {', '.join(map(repr, names[:3]))}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
            for what, names in (("the new classes", added), ("no more the classes", removed))
            if names
        ]
        return " and ".join(phrases) or f"its {len(now)} classes in another order"
    return f"other {key} ({now}, was {before})"


def fingerprint_of(loaders: Any) -> Record:
    """Return what identifies the data: plain values; empty where the loaders have no ``fingerprint()``.

    Raises
    ------
    ConfigError
        If ``fingerprint()`` does not return a dict of dicts of plain values.
    """
    own = getattr(loaders, "fingerprint", None)
    if own is None:
        return {}
    found = own()
    try:
        record = json.loads(json.dumps(found))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"data: fingerprint() returned other than plain values: {error}") from error
    if not isinstance(record, dict) or not all(isinstance(values, dict) for values in record.values()):
        raise ConfigError(
            f"data: fingerprint() returned a {type(found).__name__}: expected a dict, name of a part -> dict of plain values"
        )
    return record
