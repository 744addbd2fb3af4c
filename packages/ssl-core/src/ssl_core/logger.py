"""Metrics out of a run: ``metrics.jsonl`` first, then whoever else listens."""

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TextIO

from ssl_core.errors import CheckpointError


class Sink(Protocol):
    """Something that shows metrics elsewhere. The files are the truth; a sink may fail without harm to the run."""

    def log(self, step: int, values: dict[str, float]) -> None:
        """Take the metrics of one optimizer step."""

    def close(self) -> None:
        """Finish."""


class Logger:
    """Appends lines to ``metrics.jsonl`` and passes them to the sinks.

    Parameters
    ----------
    path : Path
        The file; one JSON object a line: ``step``, ``epoch``, then the values.
    sinks : list of Sink
        Listeners.
    writes : bool
        False on all ranks but the main one: then nothing is written, only remembered.
    """

    def __init__(self, path: Path, sinks: list[Sink], writes: bool = True) -> None:
        self.path = path
        self.sinks = sinks
        self.writes = writes
        self.last: dict[str, float] = {}  # the last value of every name
        self._file: TextIO | None = None

    def __enter__(self) -> "Logger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        for sink in self.sinks:
            sink.close()

    def log(self, step: int, epoch: int, values: dict[str, float]) -> None:
        """Append one line and pass it on; it is in the file, whole, when this returns."""
        self.last.update(values)
        if self.writes:
            file = self._open()
            file.write(json.dumps({"step": step, "epoch": epoch, **values}) + "\n")
            file.flush()
            for sink in self.sinks:
                sink.log(step, values)

    def state_dict(self) -> dict[str, Any]:
        """Return how many bytes of the file belong to the state, once they are safe on the disk."""
        if not self.writes:
            return {"bytes": 0, "last": self.last}
        file = self._open()
        file.flush()
        os.fsync(file.fileno())
        return {"bytes": file.tell(), "last": dict(self.last)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Cut the file back to where the state was saved: what came after will be computed, and written, again."""
        self.last = dict(state["last"])
        if self.writes:
            file = self._open()
            if file.tell() < state["bytes"]:
                raise CheckpointError(
                    f"'{self.path}' has {file.tell():,} bytes, and {state['bytes']:,} when the state was saved: lines are "
                    "lost; put the file back, or delete the run folder to begin anew"
                )
            file.truncate(state["bytes"])
            file.seek(state["bytes"])

    def _open(self) -> TextIO:
        if self._file is None:
            self._file = open(self.path, "a")  # noqa: SIM115 - closed in __exit__
            self._file.seek(0, os.SEEK_END)
        return self._file
