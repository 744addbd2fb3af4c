"""The finished parts of a long evaluation, kept in the run folder: an evaluation that was stopped continues with the others."""

import hashlib
import json
from pathlib import Path
from typing import Any

from ssl_core.run.atomic_file import translate_disk_errors, write_atomically


class FinishedParts:
    """Results by the name of a part, in ``eval/parts/<name>_<digest>.json``, which is replaced after each part.

    Parameters
    ----------
    folder : Path
        ``eval`` of a run.
    name : str
        The kind of evaluation.
    facts : dict
        All that the results depend on: plain values. Other facts are another file.
    writes : bool
        False on all ranks but the first.
    """

    def __init__(self, folder: Path, name: str, facts: dict[str, Any], writes: bool = True) -> None:
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
        self.path = folder / "parts" / f"{name}_{digest}.json"
        self._writes = writes
        self._results: dict[str, Any] = {}
        try:
            kept = json.loads(self.path.read_text())
            self._results = kept if isinstance(kept, dict) else {}
        except (OSError, ValueError):
            pass  # the file does not exist or is damaged: compute all parts

    def get(self, part: str) -> Any | None:
        """Return the result of a part; None if it has not finished."""
        return self._results.get(part)

    def add(self, part: str, result: Any) -> None:
        """Keep the result of a part: plain values.

        Raises
        ------
        DiskError
            If the file cannot be written.
        """
        self._results[part] = result
        if self._writes:
            with translate_disk_errors(self.path, 0):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(self.path, json.dumps(self._results) + "\n")
