"""Checkpoints of a run: written atomically, and loaded only if intact.

``checkpoints/step_00000120.pt`` is a file of ``torch.save``: a zip archive with a CRC-32 of each entry, loaded with
``weights_only=True`` (never code). It gets its name when all of it is on the disk; a file that was damaged later does not
match its CRCs, and the newest intact one is loaded in its place.
"""

import hashlib
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from ssl_core.checkpoint.state_schema import check_state
from ssl_core.errors import CheckpointError
from ssl_core.run.atomic_file import replace_atomically

_ABOUT = ("format", "run", "datasets")  # keys of a checkpoint besides the state of the parts


class CheckpointStore:
    """The checkpoints of one run.

    Parameters
    ----------
    folder : Path
        ``<run>/checkpoints``.
    keep : int
        How many of the newest are kept.
    identity : str
        Hash of the run's configuration; a checkpoint of another run is not loaded.
    """

    FORMAT = 5  # of the state; a checkpoint of another format is an error

    def __init__(self, folder: Path, keep: int = 2, identity: str = "") -> None:
        self.folder = folder
        self.keep = keep
        self.identity = identity
        self.data: dict[str, Any] = {}  # record of the data (ssl_core.training.data.record), saved in each checkpoint
        self.up_to: int | None = None  # for a replay: checkpoints of later steps are not loaded

    def all(self) -> list[Path]:
        """Return the checkpoints, oldest first."""
        return sorted(self.folder.glob("step_*.pt"))

    def by_step(self) -> dict[int, Path]:
        """Return the checkpoints by their steps, oldest first."""
        return {step_of(path): path for path in self.all()}

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write ``state`` atomically, delete old checkpoints and return the path.

        Raises a DiskError if the disk is full, over quota, read-only or gone; earlier checkpoints are unchanged.
        """
        path = self.folder / f"step_{step:08d}.pt"
        size = sum(leaf.nbytes for leaf in tree_leaves(state) if isinstance(leaf, Tensor))
        with replace_atomically(path, size) as temporary:
            self.folder.mkdir(exist_ok=True)  # not its parents: a run folder that was removed stays removed
            try:
                torch.save({"format": self.FORMAT, "run": self.identity, "datasets": self.data, **state}, temporary)
            except RuntimeError as error:  # torch's error for a disk that is full
                raise OSError(0, "not all of it was written") from error
        older = [each for each in self.all() if each < path]
        for each in [*older[: max(0, len(older) + 1 - self.keep)], *(each for each in self.all() if each > path)]:
            each.unlink()  # later steps too: they were damaged, and the run resumed from an earlier one
        return path

    def newest(self) -> Path:
        """Return the newest intact checkpoint, whichever run it is of; a CheckpointError says what is wrong with each."""
        damaged = []
        for path in reversed(self.all()):
            problem = archive_problem(path)
            if problem is None:
                return path
            damaged.append(f"; {path.name}: {problem}")
        raise CheckpointError(f"there is no intact checkpoint in '{self.folder}'{''.join(damaged)}")

    def recorded_data(self) -> Any:
        """Return the record of the data in the newest intact checkpoint; None if it has none, or there is no checkpoint."""
        try:
            return read_state(self.newest(), torch.device("cpu")).get("datasets")
        except CheckpointError:
            return None  # load() reports it

    def load(
        self, device: torch.device, expected: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], Path, list[str]] | None:
        """Return the newest intact state, its path and the problems of newer files; None if there is no checkpoint.

        Parameters
        ----------
        device : torch.device
            Device of the tensors.
        expected : dict, optional
            The state that the run would write now (see :func:`~ssl_core.checkpoint.state_schema.check_state`).

        Raises
        ------
        CheckpointError
            If none of the checkpoints is intact, or the newest intact one does not match ``expected``.
        """
        damaged: list[str] = []
        for path in reversed(self.all()):
            if self.up_to is not None and step_of(path) > self.up_to:
                continue
            try:
                state = self.read(path, device)
            except CheckpointError as error:
                damaged.append(str(error))
                continue
            if expected is not None:
                _check_schema(state, expected, path)
            return state, path, damaged
        if damaged:
            raise CheckpointError(
                f"no checkpoint in '{self.folder}' is intact: {'; '.join(damaged)}; delete the run folder to start again"
            )
        return None

    def read(self, path: Path, device: torch.device) -> dict[str, Any]:
        """Return the state in a file of this run; raise a CheckpointError if it is damaged or of another run."""
        state = read_state(path, device)
        if state.get("run") != self.identity:
            raise CheckpointError(f"{path.name}: of another run ({state.get('run')}, this is {self.identity})")
        return state


def _check_schema(state: dict[str, Any], expected: dict[str, Any], path: Path) -> None:
    """Raise a CheckpointError for an intact checkpoint that does not fit the run: an older one would not fit either."""
    try:
        check_state({key: value for key, value in state.items() if key not in _ABOUT}, expected)
    except CheckpointError as error:
        raise CheckpointError(
            f"{path.name}: {error}; the file is undamaged, but the method or the optimizer has changed since it was written: "
            "restore the code, or train in another run folder with log.run=NAME"
        ) from error


def read_state(path: Path, device: torch.device) -> dict[str, Any]:
    """Return the state in a checkpoint of any run; raise a CheckpointError if the file is damaged or not a checkpoint."""
    problem = archive_problem(path)
    if problem is not None:
        raise CheckpointError(f"{path.name}: {problem}")
    state = load_tensors(path, device)
    if not isinstance(state, dict) or state.get("format") != CheckpointStore.FORMAT:
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise CheckpointError(f"{path.name}: of another format ({found}, expected {CheckpointStore.FORMAT})")
    return state


def load_tensors(path: Path, device: torch.device) -> Any:
    """Return the content of a file of ``torch.save``: tensors, numbers, strings and containers; else a CheckpointError."""
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # a forged file can cause any exception
        raise CheckpointError(f"{path.name}: no state that is safe to load ({_why_unsafe(error)})") from error


def _why_unsafe(error: Exception) -> str:
    """Return why torch does not load a file, without torch's own advice to load it unsafely."""
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    if named:
        return f"it needs the Python object {named[1]}, expected tensors, numbers and strings"
    if "eights only" in str(error) or "weights_only" in str(error):
        return "it holds more than tensors, or is not a file of torch.save"
    line = next(iter(str(error).splitlines()), "")
    return f"damaged or truncated: {line or type(error).__name__}"


def archive_problem(path: Path) -> str | None:
    """Return why a file is not an intact archive of ``torch.save``; None if all its bytes match their CRC-32."""
    try:
        with zipfile.ZipFile(path) as archive:
            # Not covered by a CRC: an entry that is marked as a folder has no content for torch
            folders = (entry.filename for entry in archive.infolist() if entry.external_attr & 0x10)
            damaged = archive.testzip() or next(folders, None)
    except FileNotFoundError:
        return "missing"
    except Exception as error:  # a damaged header can cause any exception
        return f"no state that is safe to load (damaged or truncated: {error})"
    return damaged and f"damaged: '{damaged}' does not have the bytes that were written"


def step_of(path: Path) -> int:
    """Return the optimizer step in the name of a checkpoint."""
    return int(path.stem.removeprefix("step_"))


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
