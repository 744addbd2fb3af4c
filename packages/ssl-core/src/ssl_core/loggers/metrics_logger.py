"""Write metrics to ``metrics.jsonl``, then pass them to the sinks.

Each step has one line. Values that are logged later at the same step (an evaluation after the last step of an epoch) are added
to its line: the steps of the file strictly increase.
"""

import contextlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from ssl_core.errors import CheckpointError, MethodError, describe, warn_on_error
from ssl_core.run.atomic_file import disk_error, translate_disk_errors

_FILES = "the run continues, and its own files hold all metrics"


class Sink(Protocol):
    """A destination of metrics besides the run folder: wandb, TensorBoard, or a user-defined class with these methods.

    A sink that shows images also has ``log_image(step: int, name: str, path: Path)``, where ``path`` is a PNG file. An
    exception in a sink is a warning: the sink gets no more metrics, is closed at the end, and the run continues.
    """

    def log(self, step: int, values: dict[str, float]) -> None:
        """Log the metrics of an optimizer step. May be called several times for a step, with different names."""

    def close(self) -> None:
        """Called once, at the end of the run."""


class MetricsLogger:
    """Appends lines to ``metrics.jsonl`` and passes them to the sinks.

    Parameters
    ----------
    path : Path
        The file; one JSON object a line: ``step``, ``epoch``, then the values.
    sinks : list of Sink
        Other destinations.
    writes : bool
        False on all ranks but rank 0: then nothing is written, only the last values are kept.
    """

    def __init__(self, path: Path, sinks: list[Sink], writes: bool = True) -> None:
        self.path = path
        self.sinks = sinks
        self.writes = writes
        self._failed: list[Sink] = []
        self.last: dict[str, float] = {}  # the last value of every name
        self._file: BinaryIO | None = None
        self._line: dict[str, Any] = {}  # the last line
        self._line_begins = 0  # its position in bytes

    def __enter__(self) -> "MetricsLogger":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        for sink in self.sinks:
            with warn_on_error(f"{type(sink).__name__}.close() failed", _FILES):
                sink.close()

    def log(self, step: int, epoch: int, values: Mapping[str, Any]) -> None:
        """Write the line of a step, or add to it. The file holds the complete line when this returns.

        Raises a MethodError for a metric called step or epoch, or one that is not a number.
        """
        values = {name: _number(name, value) for name, value in values.items()}
        self.last.update(values)
        if self.writes:
            file = self._open()
            if self._line.get("step") != step:
                self._line, self._line_begins = {}, file.tell()
            before = self._text()
            self._line = {**self._line, "step": step, "epoch": epoch, **values}
            try:
                self._write()
            except OSError:  # restore the line as it was
                with contextlib.suppress(OSError):
                    file.seek(self._line_begins)
                    file.write(before)
                    file.truncate()
                raise
            for sink in [each for each in self.sinks if each not in self._failed]:
                self._failed.append(sink)
                with warn_on_error(f"{type(sink).__name__}.log() failed", f"it gets no more metrics; {_FILES}"):
                    sink.log(step, dict(values))
                    self._failed.remove(sink)

    def log_image(self, step: int, name: str, path: Path) -> None:
        """Pass a PNG file to the sinks that show images."""
        for sink in self.sinks if self.writes else []:
            if hasattr(sink, "log_image"):
                with warn_on_error(f"{type(sink).__name__}.log_image() failed", _FILES):
                    sink.log_image(step, name, path)

    def state_dict(self) -> dict[str, Any]:
        """Return the size of the file and its last line, which may still grow, after flushing the file to the disk."""
        if not self.writes:
            return {"bytes": 0, "line": {}, "last": self.last}
        file = self._open()
        with translate_disk_errors(self.path, 0):
            os.fsync(file.fileno())
        return {"bytes": self._line_begins, "line": dict(self._line), "last": dict(self.last)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Cut the file back to where the state was saved: later lines will be computed and written again."""
        self.last = dict(state["last"])
        if self.writes:
            file = self._open()
            self._line, self._line_begins = dict(state["line"]), state["bytes"]
            expected = self._line_begins + len(self._text())
            found = file.seek(0, os.SEEK_END)
            if found < expected:
                raise CheckpointError(
                    f"'{self.path}' has {found:,} bytes, and {expected:,} when the state was saved: lines are missing; "
                    "restore the file, or delete the run folder to start again"
                )
            self._write()  # without what was added later
            file.truncate(expected)

    def _write(self) -> None:
        """Write the last line at its position. It only grows, in place, so that a reader always finds it."""
        file = self._open()
        file.seek(self._line_begins)
        text = self._text()
        with translate_disk_errors(self.path, len(text)):
            while text:  # a disk that is nearly full writes a part first, and then raises
                text = text[file.write(text) :]

    def _text(self) -> bytes:
        return (json.dumps(self._line) + "\n").encode() if self._line else b""

    def _open(self) -> BinaryIO:
        if self._file is None:
            # Not "a", which cannot overwrite, and not "w", which empties the file
            with translate_disk_errors(self.path, 0):
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            self._file = os.fdopen(descriptor, "r+b", buffering=0)  # closed in __exit__
            self._file.seek(0, os.SEEK_END)
        if os.fstat(self._file.fileno()).st_nlink == 0:  # the file has no name any more
            raise disk_error(self.path, len(self._text()), "it was removed while the run was writing it")
        return self._file


def _number(name: str, value: Any) -> float:
    """Return the value of a metric as a number; a tensor or an array must have one element."""
    if name in ("step", "epoch"):
        raise MethodError(
            f"a metric is called {name!r}, which each line of metrics.jsonl already has: choose another name"
        )
    if isinstance(value, int | float):
        return value
    if getattr(value, "shape", None) is not None and math.prod(value.shape) == 1:
        return value.item()
    raise MethodError(f"the metric {name!r} is {describe(value)}: expected a number, e.g. its mean")
