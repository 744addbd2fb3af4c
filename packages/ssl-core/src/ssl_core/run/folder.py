"""The run folder: the one object that knows the names in it.

``<log.folder>/<log.run>/`` contains ``config.yaml``, ``metrics.jsonl``, ``checkpoints/``, ``summary.json`` and, at the end,
``table.md``, ``table.json``, ``curves.png``. Depending on the run it also contains ``backbone.safetensors`` (``log.export``),
``diverged.json``, ``uncommitted.patch`` (changes of the code that were not committed at the start), ``profile.md`` and
``trace.json`` (``hardware.profile``), ``output.log`` (output of a run in a sweep), ``.lock`` (the process that works in it),
``images/`` (``log_image``), ``eval/`` (results of protocols, and features), ``wandb.json``, ``wandb/`` and ``tensorboard/``.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from ssl_core.config import Config
from ssl_core.errors import RunFolderError
from ssl_core.run.atomic_file import temporary_path, write_atomically
from ssl_eval.runs.run_summary import TYPES, parse_object, wrong_types


class RunFolder:
    """A run folder: the names of its files, and functions that read and write them.

    Parameters
    ----------
    path : str or Path
        ``<log.folder>/<log.run>``. Created by :meth:`create`, on the main rank only.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.metrics = self.path / "metrics.jsonl"
        self.summary = self.path / "summary.json"
        self.checkpoints = self.path / "checkpoints"
        self.table = self.path / "table.md"
        self.table_json = self.path / "table.json"
        self.curves = self.path / "curves.png"
        self.diverged = self.path / "diverged.json"
        self.profile = self.path / "profile.md"
        self.trace = self.path / "trace.json"
        self.backbone = self.path / "backbone.safetensors"
        self.evaluations = self.path / "eval"
        self.output = self.path / "output.log"
        self.uncommitted = self.path / "uncommitted.patch"
        self.lock = self.path / ".lock"
        self.rendezvous = self.path.with_name(f".rendezvous_{self.path.name}")  # before the folder is locked
        self.images = self.path / "images"  # <name>/step_<n>.png
        self.tensorboard = self.path / "tensorboard"  # event files
        self.wandb = self.path / "wandb"  # files of wandb
        self.wandb_id = self.path / "wandb.json"  # id of the wandb run

    @classmethod
    def of(cls, config: Config) -> "RunFolder":
        """Return the run folder of a configuration. Without ``log.run`` it has the name of the method."""
        return cls(Path(config.log.folder) / (config.log.run or config.model.name))

    def check_same_config(self, config: dict[str, Any], free: set[str]) -> None:
        """Raise a RunFolderError if the folder contains files of something else, or a run with another configuration.

        ``config`` is resolved, as :func:`plain_config` gives it; the keys ``free`` (``"group.key"``) may differ when a run is
        resumed. The message lists the differences. A run without checkpoints and metrics may be overwritten.
        """
        begun = self.read_metrics_text() or any(self.checkpoints.glob("step_*.pt"))
        if not self.config.exists():
            self._check_no_other_files(bool(begun))
            return
        different = config_diff(self.read_config(), config, free)
        if begun and different:
            raise RunFolderError(
                f"log.run={self.path.name!r}: the run folder '{self.path}' contains another run: {'; '.join(different)}; "
                "choose another folder with log.run=NAME, or delete that one"
            )

    def _check_no_other_files(self, begun: bool) -> None:
        """Raise for a folder without ``config.yaml``, unless it is empty or left by a start that was killed."""
        ours = {self.checkpoints.name, self.output.name, self.lock.name, temporary_path(self.config).name}
        found = {entry.name for entry in self.path.iterdir()} if self.path.is_dir() else set()
        if begun or not found <= ours:
            raise RunFolderError(
                f"log.run={self.path.name!r}: the folder '{self.path}' is not empty and has no config.yaml; "
                "choose another with log.run=NAME"
            )

    def create(self, config: dict[str, Any]) -> None:
        """Create the folder and write ``config.yaml``; raise a RunFolderError if it cannot be written."""
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            write_atomically(self.config, yaml.safe_dump(config, sort_keys=False))
        except OSError as error:
            raise RunFolderError.unwritable(self.path, error) from error

    def read_config(self) -> dict[str, Any]:
        """Return ``config.yaml`` as nested dicts, lists, numbers and strings: group -> key -> value.

        Raises a RunFolderError if the file does not exist or is not plain YAML. A tag that names code is an error.
        """
        try:
            config = yaml.safe_load(self.config.read_text()) or {}
        except OSError as error:
            raise RunFolderError(
                f"the run folder '{self.path}' has no config.yaml to read: {error.strerror}"
            ) from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise RunFolderError(f"'{self.config}' is not plain YAML: {' '.join(str(error).split())}") from error
        if not isinstance(config, dict):
            raise RunFolderError(f"'{self.config}' contains a {type(config).__name__}: expected groups of keys")
        return config

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Replace ``summary.json`` atomically."""
        write_atomically(self.summary, json.dumps(summary, indent=2) + "\n")

    def read_summary(self) -> dict[str, Any]:
        """Return ``summary.json``, or an empty dict if it does not exist yet; raise a RunFolderError if it is damaged."""
        try:
            summary = parse_object(self.summary.read_bytes()) if self.summary.is_file() else {}
        except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are both
            raise RunFolderError(f"'{self.summary}' is damaged: {error}; the run can be resumed without it") from error
        for problem in wrong_types(summary).values():
            raise RunFolderError(f"'{self.summary}': {problem}; the run can be resumed without the file")
        return {key: value for key, value in summary.items() if value is not None or key not in TYPES}

    def write_divergence(self, record: dict[str, Any]) -> None:
        """Write ``diverged.json``: the step at which the run has diverged, for ``python3 -m ssl_core.diagnostics.replay``."""
        write_atomically(self.diverged, json.dumps(record) + "\n")

    def read_divergence(self) -> dict[str, Any] | None:
        """Return ``diverged.json``, or None where the run has not diverged."""
        return json.loads(self.diverged.read_text()) if self.diverged.exists() else None

    def read_metrics_text(self) -> str:
        """Return the text of ``metrics.jsonl``, or an empty string."""
        return self.metrics.read_text() if self.metrics.is_file() else ""

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the lines of ``metrics.jsonl``."""
        return [json.loads(line) for line in self.read_metrics_text().splitlines()]


def plain_config(config: Config) -> dict[str, Any]:
    """Return the configuration as nested dicts, lists, numbers and strings, as in ``config.yaml``."""
    return json.loads(json.dumps({f.name: _plain(getattr(config, f.name)) for f in dataclasses.fields(config)}))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return f"<{type(value).__module__}.{type(value).__qualname__}>"  # e.g. a user-defined data object: only its name is stored


def resume_overridable_keys(config: Config) -> set[str]:
    """Return the keys whose metadata says ``resume="free"``: they may differ when a run is resumed."""
    return {
        f"{group.name}.{key.name}"
        for group in dataclasses.fields(config)
        if dataclasses.is_dataclass(getattr(config, group.name))
        for key in dataclasses.fields(getattr(config, group.name))
        if key.metadata.get("resume") == "free"
    }


def config_hash(config: Config) -> str:
    """Return a digest of all keys that may not differ when a run is resumed."""
    free = resume_overridable_keys(config)
    kept = {key: value for key, value in _flat(plain_config(config)).items() if key not in free}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def config_diff(before: dict[str, Any], now: dict[str, Any], free: set[str]) -> list[str]:
    """Return ``["optim.lr was 0.1, is 0.2", ...]`` for all keys except the free ones."""
    flat_before, flat_now = _flat(before), _flat(now)
    return [
        f"{key} was {flat_before.get(key, 'not there')!r}, is {flat_now.get(key, 'not there')!r}"
        for key in sorted(flat_before.keys() | flat_now.keys())
        if key not in free and flat_before.get(key, "not there") != flat_now.get(key, "not there")
    ]


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    """Return ``{"optim": {"lr": 1}}`` as ``{"optim.lr": 1}``: two levels only."""
    flat: dict[str, Any] = {}
    for group, values in config.items():
        if isinstance(values, dict):
            flat.update({f"{group}.{key}": value for key, value in values.items()})
        else:
            flat[group] = values
    return flat
