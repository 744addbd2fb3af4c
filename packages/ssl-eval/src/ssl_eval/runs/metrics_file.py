"""The reader of ``metrics.jsonl``, for runs that have ended and for runs in progress. Imports no torch."""

from pathlib import Path
from typing import Any

from ssl_eval.runs.run_summary import is_count, is_number, parse_object


class MetricsFile:
    """Reads ``metrics.jsonl``; each time from the last line on, which may have grown since.

    Parameters
    ----------
    path : Path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begins, self._number = 0, 1  # position in bytes and number of the last whole line

    def read(self, tolerate: str = "nothing") -> tuple[bool, list[dict[str, Any]]]:
        """Return whether the file was cut since the last call (then it is read from its start), and the lines, in order.

        Parameters
        ----------
        tolerate : {"nothing", "torn", "damaged"}
            What is left out instead of raising: the text after the last newline, which a killed run may have torn, or every
            line that cannot be parsed.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If a line is damaged: the message names the file and the number of the line.
        """
        with open(self.path, "rb") as file:
            cut = file.seek(0, 2) < self._begins  # by a resumed run
            if cut:
                self._begins, self._number = 0, 1
            file.seek(self._begins)
            *whole, rest = file.read().split(b"\n")
        lines = []
        for place, raw in enumerate([*whole, rest]):
            try:
                lines += [parse_line(raw)] if raw.strip() else []
            except ValueError as error:
                if tolerate != "damaged" and (tolerate != "torn" or place < len(whole)):
                    raise ValueError(f"'{self.path}', line {self._number + place} is damaged: {error}") from error
        self._begins += sum(len(raw) + 1 for raw in whole[:-1])
        self._number += len(whole[:-1])
        return cut, lines


def parse_line(text: str | bytes) -> dict[str, Any]:
    """Return a line of ``metrics.jsonl``: ``step`` and ``epoch``, then numbers by name; null where there is no value.

    Raises
    ------
    ValueError
        If it is not an object, or a value has a wrong type. Names without a slash may hold anything.
    """
    line = parse_object(text)
    if not is_count(line.get("step")) or not is_count(line.get("epoch")):
        raise ValueError("expected integers 'step' and 'epoch' of 0 or more")
    for name, value in line.items():
        if "/" in name and value is not None and not is_number(value):
            raise ValueError(f"{name!r} must be a number, got {value!r:.80}")
    return line
