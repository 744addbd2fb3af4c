"""Checkpoints: written beside, made safe on the disk, then named; read back only when every byte is right.

``checkpoints/step_00000120.pt`` holds the state (``torch.save``, loaded with ``weights_only=True``: never code), and
``step_00000120.pt.sha256`` beside it its digest. The digest is written last: a checkpoint without one was never finished.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

import torch

from ssl_core.errors import CheckpointError


class Checkpoints:
    """The checkpoints of one run.

    Parameters
    ----------
    folder : Path
        ``<run>/checkpoints``.
    keep : int
        How many of the newest are kept.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = folder
        self.keep = keep

    def all(self) -> list[Path]:
        """Return the finished checkpoints, oldest first."""
        finished = [path.with_suffix("") for path in self.folder.glob("step_*.pt.sha256")]
        return sorted(path for path in finished if path.exists())

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write ``state`` atomically and forget the oldest; return the path.

        Raises
        ------
        CheckpointError
            If the disk refuses (full, read-only): the earlier checkpoints are as they were.
        """
        path = self.folder / f"step_{step:08d}.pt"
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            torch.save(state, temporary)
            digest = _digest(temporary)
            _sync(temporary)
            # A checkpoint of the same step is replaced: without its digest it does not count, whatever happens now.
            _digest_path(path).unlink(missing_ok=True)
            os.replace(temporary, path)
            _write_digest(path, digest)
            _sync(self.folder)
        except (OSError, RuntimeError) as error:  # torch.save turns a full disk into a RuntimeError
            temporary.unlink(missing_ok=True)
            raise CheckpointError(
                f"the checkpoint '{path}' cannot be written: {error}; the earlier ones are whole"
            ) from error
        self._prune()
        return path

    def load(self, device: torch.device) -> tuple[dict[str, Any], Path, list[str]] | None:
        """Return the newest whole state, its path and what was wrong with newer ones; None where there is none at all.

        Raises
        ------
        CheckpointError
            If there are checkpoints and none of them is whole.
        """
        damaged: list[str] = []
        for path in reversed(self.all()):
            problem = check(path)
            if problem is None:
                return torch.load(path, map_location=device, weights_only=True), path, damaged
            damaged.append(f"{path.name}: {problem}")
        if damaged:
            raise CheckpointError(
                f"no checkpoint in '{self.folder}' is whole: {'; '.join(damaged)}; delete the run folder to begin anew"
            )
        return None

    def _prune(self) -> None:
        for path in self.all()[: -self.keep]:
            _digest_path(path).unlink()  # first the digest: half a removal is no checkpoint, rather than a bad one
            path.unlink()


def check(path: Path) -> str | None:
    """Return what is wrong with the bytes of a checkpoint, or None."""
    expected = _digest_path(path).read_text().strip()
    found = _digest(path)
    if found != expected:
        return f"its {path.stat().st_size:,} bytes are not those that were written (sha256 {found[:8]}, not {expected[:8]})"
    return None


def _digest_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_digest(path: Path, digest: str) -> None:
    temporary = path.with_name(f".{path.name}.sha256.tmp")
    temporary.write_text(f"{digest}\n")
    _sync(temporary)
    os.replace(temporary, _digest_path(path))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
