"""The run folder: the one object that knows the names in it.

``<log.folder>/<log.run>/`` holds ``config.yaml``, ``metrics.jsonl``, ``checkpoints/``, ``summary.json`` and, at the end,
``table.md``, ``table.json``, ``curves.png`` and, if it is asked for, ``backbone.safetensors``; ``diverged.json`` where the
run has diverged; ``uncommitted.patch``, what was not committed of the code when it began; ``profile.md`` and ``trace.json``
where ``hardware.profile`` asks for them; ``output.log``: what a member of a sweep has printed; ``.lock`` says which process
works in it; ``images/`` holds what ``log_image`` has saved; ``eval/`` holds what protocols say of its checkpoints, and the
features; ``wandb.json``, ``wandb/`` and ``tensorboard/`` are there where these show the run. The files are the truth; whatever
else shows a run reads them.
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
from ssl_eval.run_summary import TYPES, parse_object, wrong_types


class RunFolder:
    """Names and files of one run.

    Parameters
    ----------
    path : str or Path
        ``<log.folder>/<log.run>``; made by :meth:`create`, on the main rank only.
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
        self.rendezvous = self.path.with_name(f".rendezvous_{self.path.name}")  # beside it: here before it is locked
        self.images = self.path / "images"  # what log_image has saved: <name>/step_<n>.png
        self.tensorboard = self.path / "tensorboard"  # its event files
        self.wandb = self.path / "wandb"  # what wandb keeps
        self.wandb_id = self.path / "wandb.json"  # which wandb run shows this one

    @classmethod
    def of(cls, config: Config) -> "RunFolder":
        """Return the folder that a configuration names; without ``log.run`` it is called after the method."""
        return cls(Path(config.log.folder) / (config.log.run or config.model.name))

    def check_same_config(self, config: dict[str, Any], free: set[str]) -> None:
        """Refuse a folder that holds a run of another configuration, or things that are no run.

        Parameters
        ----------
        config : dict
            The resolved configuration, as :func:`plain_config` gives it.
        free : set of str
            Keys (``"group.key"``) that may differ from those of the run that is there.

        Raises
        ------
        RunFolderError
            The message lists the differences. A run that has neither checkpoint nor metrics yet is nothing to protect.
        """
        begun = self.read_metrics_text() or any(self.checkpoints.glob("step_*.pt"))
        if not self.config.exists():
            self._refuse_strangers(bool(begun))
            return
        different = config_diff(self.read_config(), config, free)
        if begun and different:
            raise RunFolderError(
                f"log.run={self.path.name!r}: the run folder '{self.path}' holds another run: {'; '.join(different)}; "
                "give this one a folder of its own with ++log.run=NAME, or delete that one"
            )

    def _refuse_strangers(self, begun: bool) -> None:
        """Refuse a folder without ``config.yaml`` unless it is empty, or what a start that was killed has left."""
        ours = {self.checkpoints.name, self.output.name, self.lock.name, temporary_path(self.config).name}
        found = {entry.name for entry in self.path.iterdir()} if self.path.is_dir() else set()
        if begun or not found <= ours:
            raise RunFolderError(
                f"log.run={self.path.name!r}: the folder '{self.path}' is not empty and holds no run (it has no "
                "config.yaml); choose another with ++log.run=NAME"
            )

    def create(self, config: dict[str, Any]) -> None:
        """Make the folder and write ``config.yaml``.

        Raises
        ------
        RunFolderError
            If the disk refuses.
        """
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            write_atomically(self.config, yaml.safe_dump(config, sort_keys=False))
        except OSError as error:
            raise RunFolderError.unwritable(self.path, error) from error

    def read_config(self) -> dict[str, Any]:
        """Return ``config.yaml`` as nested dicts, lists, numbers and strings: group -> key -> value.

        Raises
        ------
        RunFolderError
            If it is not there, or holds anything but plain YAML: a tag that names code is refused, not followed.
        """
        try:
            config = yaml.safe_load(self.config.read_text()) or {}
        except OSError as error:
            raise RunFolderError(
                f"the run folder '{self.path}' has no config.yaml to read: {error.strerror}"
            ) from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise RunFolderError(f"'{self.config}' is no plain YAML: {' '.join(str(error).split())}") from error
        if not isinstance(config, dict):
            raise RunFolderError(f"'{self.config}' holds a {type(config).__name__}: expected groups of keys")
        return config

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Replace ``summary.json`` at once: a reader sees the old one or the new one, never half of it."""
        write_atomically(self.summary, json.dumps(summary, indent=2) + "\n")

    def read_summary(self) -> dict[str, Any]:
        """Return ``summary.json``, or an empty dict where there is none yet.

        Raises
        ------
        RunFolderError
            If it is no JSON object, or a value has a wrong type: it is written at once, so that somebody else has been there.
        """
        try:
            summary = parse_object(self.summary.read_bytes()) if self.summary.is_file() else {}
        except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are both
            raise RunFolderError(f"'{self.summary}' is damaged: {error}; without it the run goes on as well") from error
        for problem in wrong_types(summary).values():
            raise RunFolderError(f"'{self.summary}': {problem}; without the file the run goes on as well")
        return {key: value for key, value in summary.items() if value is not None or key not in TYPES}

    def write_divergence(self, record: dict[str, Any]) -> None:
        """Write ``diverged.json``: the step at which the run has diverged, for ``python3 -m ssl_core.diagnostics.replay``."""
        write_atomically(self.diverged, json.dumps(record) + "\n")

    def read_divergence(self) -> dict[str, Any] | None:
        """Return ``diverged.json``, or None where the run has not diverged."""
        return json.loads(self.diverged.read_text()) if self.diverged.exists() else None

    def read_metrics_text(self) -> str:
        """Return ``metrics.jsonl`` as it is, or an empty string."""
        return self.metrics.read_text() if self.metrics.is_file() else ""

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the lines of ``metrics.jsonl``."""
        return [json.loads(line) for line in self.read_metrics_text().splitlines()]


def plain_config(config: Config) -> dict[str, Any]:
    """Return the configuration as nested dicts, lists, numbers and strings: what ``config.yaml`` holds."""
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
    return f"<{type(value).__module__}.{type(value).__qualname__}>"  # one's own data object, say: named, not stored


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
    """Return a digest of all keys but the free ones: the same for all processes of a run, another for every other run."""
    free = resume_overridable_keys(config)
    kept = {key: value for key, value in _flat(plain_config(config)).items() if key not in free}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def config_diff(before: dict[str, Any], now: dict[str, Any], free: set[str]) -> list[str]:
    """Return ``["optim.lr was 0.1, is 0.2", ...]`` for all keys but the free ones."""
    flat_before, flat_now = _flat(before), _flat(now)
    return [
        f"{key} was {flat_before.get(key, 'not there')!r}, is {flat_now.get(key, 'not there')!r}"
        for key in sorted(flat_before.keys() | flat_now.keys())
        if key not in free and flat_before.get(key, "not there") != flat_now.get(key, "not there")
    ]


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    """``{"optim": {"lr": 1}}`` as ``{"optim.lr": 1}``: two levels, the values as they are."""
    flat: dict[str, Any] = {}
    for group, values in config.items():
        if isinstance(values, dict):
            flat.update({f"{group}.{key}": value for key, value in values.items()})
        else:
            flat[group] = values
    return flat
