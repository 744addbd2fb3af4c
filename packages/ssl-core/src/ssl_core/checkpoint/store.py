"""Checkpoints: written beside, made safe on the disk, then named; read back only when every byte is right.

``checkpoints/step_00000120.pt`` holds the state (``torch.save``, loaded with ``weights_only=True``: never code), and
``step_00000120.pt.sha256`` beside it its digest. The digest is written last: a checkpoint without one was never finished.

``SSL_CORE_CRASH=<place>:<n>`` kills the process (as ``kill -9`` does) at the n-th passage of a place in a save, for tests:
``begin``, ``written``, ``synced``, ``named``, ``digest``, ``pruning``.
"""

import contextlib
import hashlib
import os
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_core.checkpoint.state_schema import check_state
from ssl_core.errors import CheckpointError
from ssl_core.run.atomic_file import check_free_space, disk_error

_ABOUT = ("format", "run", "datasets")  # keys beside the state of the parts


class CheckpointStore:
    """The checkpoints of one run.

    Parameters
    ----------
    folder : Path
        ``<run>/checkpoints``.
    keep : int
        How many of the newest are kept.
    identity : str
        What tells this run from any other; a checkpoint of another one is not loaded.
    """

    FORMAT = 5  # of the state; older ones are refused, by name

    def __init__(self, folder: Path, keep: int = 2, identity: str = "") -> None:
        self.folder = folder
        self.keep = keep
        self.identity = identity
        self.data: dict[
            str, Any
        ] = {}  # the record of the data (ssl_core.training.data_record), kept in each checkpoint
        self.up_to: int | None = None  # a replay's: checkpoints of later steps are not loaded

    def all(self) -> list[Path]:
        """Return the checkpoints that were finished once, oldest first."""
        return sorted(path.with_suffix("") for path in self.folder.glob("step_*.pt.sha256"))

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write ``state`` atomically and forget the oldest; return the path.

        Raises
        ------
        DiskError
            If the disk refuses (full, over quota, read-only, gone): the earlier checkpoints are as they were.
        """
        path = self.folder / f"step_{step:08d}.pt"
        temporary = path.with_name(f".{path.name}.tmp")
        needed = _size_of(state)
        check_free_space(path, needed)
        _crash_point("begin")
        try:
            self.folder.mkdir(exist_ok=True)  # not its parents: a run folder that has been removed stays so
            torch.save({"format": self.FORMAT, "run": self.identity, "datasets": self.data, **state}, temporary)
            _crash_point("written")
            digest = sha256_of(temporary)
            _sync(temporary)
            _crash_point("synced")
            if is_checkpoint(path):  # of the same step: until it is replaced both count
                _write_digest(path, f"{digest}\n{digest_of(path)}")
            os.replace(temporary, path)
            _crash_point("named")
            _write_digest(path, digest)
            _sync(self.folder)
            _crash_point("digest")
        except (OSError, RuntimeError) as error:  # torch.save turns a full disk into a RuntimeError
            unfinished = [temporary, _temporary_digest(path), *([] if is_checkpoint(path) else [path])]
            for each in unfinished:
                with contextlib.suppress(OSError):
                    each.unlink(missing_ok=True)
            reason = getattr(error, "strerror", None) or "the disk has not taken all of it"
            raise disk_error(path, needed, reason) from error
        self._prune(path)
        return path

    def newest(self) -> Path:
        """Return the newest whole one, of whichever run.

        Raises
        ------
        CheckpointError
            If there is none; what is wrong with each is said.
        """
        damaged = []
        for path in reversed(self.all()):
            problem = check_digest(path)
            if problem is None:
                return path
            damaged.append(f"; {path.name}: {problem}")
        raise CheckpointError(f"there is no whole checkpoint in '{self.folder}'{''.join(damaged)}")

    def recorded_data(self) -> Any:
        """Return the record of the data in the newest whole checkpoint; None where it has none, or there is no checkpoint."""
        try:
            return read_state(self.newest(), torch.device("cpu")).get("datasets")
        except CheckpointError:
            return None  # loading it names what is wrong

    def load(
        self, device: torch.device, expected: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], Path, list[str]] | None:
        """Return the newest whole state, its path and what was wrong with newer ones; None where there is none at all.

        Parameters
        ----------
        device : torch.device
            Where its tensors go.
        expected : dict, optional
            The state as the run would write it now (``ssl_core.checkpoint.state_schema``).

        Raises
        ------
        CheckpointError
            If there are checkpoints and none of them is whole, or the newest whole one does not have the form ``expected``.
        """
        damaged: list[str] = []
        for path in reversed(self.all()):
            if self.up_to is not None and _step(path) > self.up_to:
                continue
            try:
                state = self.read(path, device)
            except CheckpointError as error:
                damaged.append(str(error))
                continue
            _check_form(state, expected, path)
            return state, path, damaged
        if damaged:
            raise CheckpointError(
                f"no checkpoint in '{self.folder}' is whole: {'; '.join(damaged)}; delete the run folder to begin anew"
            )
        return None

    def read(self, path: Path, device: torch.device) -> dict[str, Any]:
        """Return the state in one file.

        Raises
        ------
        CheckpointError
            If its bytes are not those that were written, or they are not a checkpoint of this run.
        """
        state = read_state(path, device)
        if state.get("run") != self.identity:
            raise CheckpointError(f"{path.name}: of another run ({state.get('run')}, this is {self.identity})")
        return state

    def _prune(self, newest: Path) -> None:
        """Forget what is too old, and what claims to be newer: it was damaged, and the run has gone back behind it."""
        older = [path for path in self.all() if path < newest]
        for path in [*older[: max(0, len(older) + 1 - self.keep)], *(path for path in self.all() if path > newest)]:
            _digest_path(path).unlink()  # first the digest: half a removal is no checkpoint, rather than a bad one
            _crash_point("pruning")
            path.unlink(missing_ok=True)


def _check_form(state: dict[str, Any], expected: dict[str, Any] | None, path: Path) -> None:
    """Raise a CheckpointError for a whole checkpoint that does not fit the run: an older one would not fit either."""
    if expected is None:
        return
    try:
        check_state({key: value for key, value in state.items() if key not in _ABOUT}, expected)
    except CheckpointError as error:
        raise CheckpointError(
            f"{path.name}: {error}; the file is undamaged, but the method or the optimizer has changed since it was written: "
            "restore the code, or train in another run folder with ++log.run=NAME"
        ) from error


def read_state(path: Path, device: torch.device) -> dict[str, Any]:
    """Return the state in one file, of whichever run.

    Raises
    ------
    CheckpointError
        If its bytes are not those that were written, or they are no checkpoint.
    """
    problem = check_digest(path)
    if problem is not None:
        raise CheckpointError(f"{path.name}: {problem}")
    state = load_tensors(path, device)
    if not isinstance(state, dict) or state.get("format") != CheckpointStore.FORMAT:
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise CheckpointError(f"{path.name}: of another format ({found}, expected {CheckpointStore.FORMAT})")
    return state


def load_tensors(path: Path, device: torch.device) -> Any:
    """Return what ``torch.save`` has put into a file, if it is tensors, numbers, strings and containers: never code.

    Raises
    ------
    CheckpointError
        If it is anything else.
    """
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # a forged file makes the reader stumble in any way it likes
        raise CheckpointError(f"{path.name}: no state that is safe to load ({_why_unsafe(error)})") from error


def _why_unsafe(error: Exception) -> str:
    """Return why torch does not load a file. Its own advice is to load it unsafely, and is never passed on."""
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    if named:
        return f"it needs the Python object {named[1]}, expected tensors, numbers and strings"
    if "eights only" in str(error) or "weights_only" in str(error):
        return "it holds more than tensors, or is not a file of torch.save"
    said = next(iter(str(error).splitlines()), "")
    return f"damaged or truncated: {said or type(error).__name__}"


def digest_of(path: Path) -> str:
    """Return the digest that was written beside a checkpoint: that of its bytes, where :func:`read_state` takes it."""
    return _digest_path(path).read_text(errors="replace").partition("\n")[0].strip()


def is_checkpoint(path: Path) -> bool:
    """Return whether a file is one of ours, whole or not: it has a digest beside it."""
    return _digest_path(path).exists()


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step_"))


def check_digest(path: Path) -> str | None:
    """Return what is wrong with the bytes of a checkpoint, or None."""
    if not path.exists():
        return "missing, only its digest is there"
    expected = digest_of(path)
    found = sha256_of(path)
    if found not in _digest_path(path).read_text(errors="replace").split():  # two while one is replaced, see save()
        return f"its {path.stat().st_size:,} bytes are not those that were written (sha256 {found[:8]}, not {expected[:8]})"
    return None


def _digest_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _temporary_digest(path: Path) -> Path:
    return path.with_name(f".{path.name}.sha256.tmp")


def sha256_of(path: Path) -> str:
    """Return the digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_digest(path: Path, digest: str) -> None:
    temporary = _temporary_digest(path)
    temporary.write_text(f"{digest}\n")
    _sync(temporary)
    os.replace(temporary, _digest_path(path))


_passed: Counter[str] = Counter()


def _crash_point(place: str) -> None:
    """Die here if ``SSL_CORE_CRASH`` says so."""
    wanted, _, number = os.environ.get("SSL_CORE_CRASH", "").partition(":")
    if wanted == place:
        _passed[place] += 1
        if _passed[place] == int(number or 1):
            os.kill(os.getpid(), signal.SIGKILL)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size_of(state: Any) -> int:
    """Return how many bytes the tensors in nested dicts and lists take: a file with them is a little larger."""
    if isinstance(state, Tensor):
        return state.nbytes
    items = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return sum(_size_of(item) for item in items)
