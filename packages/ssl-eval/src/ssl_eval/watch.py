"""``ssl-eval watch``: a live list of runs in the terminal, by plain ANSI codes."""

import os
import shutil
import signal
import sys
import time
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from ssl_eval.report.metric_cell import metric_cell
from ssl_eval.report.table import NOTHING, shown
from ssl_eval.runs.live_run import LiveRun
from ssl_eval.runs.run_record import find_runs, find_runs_among
from ssl_eval.runs.wandb_import import as_folders, fetch_again

ORDER = ("running", "silent", "unknown", "failed", "preempted", "finished", "baseline")  # the order of the list
COLOURS = {"running": "36", "silent": "33", "failed": "31", "preempted": "33", "finished": "32"}  # others: dim
COLUMNS = ("run", "status", "epoch", "loss", "accuracy", "images/s", "left", "loss so far")
DROPPED = ("loss so far", "images/s", "status", "loss", "epoch", "left", "accuracy")  # in this order, if it is narrow
BARS = "▁▂▃▄▅▆▇█"
SPARK = 20  # characters
WANDB_SECONDS = 30  # between two requests to a server
MIN_NAME = 12  # characters of a name; a column is dropped before names become shorter


class Watch:
    """The runs in and under folders, with their present state.

    Parameters
    ----------
    folders : sequence of str or Path
        Runs may appear in them, and go.
    """

    def __init__(self, folders: Sequence[str | Path]) -> None:
        self.folders = folders
        self.runs: dict[Path, LiveRun] = {}
        self.problem = ""

    def update(self) -> None:
        """Find the runs, and read the new lines of each."""
        self.problem = ""
        found: dict[Path, LiveRun] = {}
        for folder in self.folders:
            try:
                paths = find_runs([folder])
            except (ValueError, OSError) as error:  # removed, also while it was looked through
                self.problem = self.problem or " ".join(str(error).split())
                continue
            for path in paths:
                found[path.resolve()] = self.runs.get(path.resolve()) or LiveRun(path)
        self.runs = found
        for run in self.runs.values():
            run.update()

    def lines(self, width: int, height: int | None = None, colour: bool = False) -> list[str]:
        """Return the lines of the list, cut to the size of the terminal."""
        runs = sorted(
            self.runs.values(), key=lambda run: ORDER.index(run.status) if run.status in ORDER else len(ORDER)
        )
        counts = [
            (status, sum(run.status == status for run in runs)) for status in dict.fromkeys(r.status for r in runs)
        ]
        head = ", ".join(f"{count} {status}" for status, count in counts) or "no run"
        below = [self.problem] if self.problem else []
        room = len(runs) if height is None else max(1, height - 3 - len(below))
        shown = runs if len(runs) <= room else runs[: room - 1]
        if len(shown) < len(runs):
            below.insert(0, f"and {len(runs) - len(shown)} more")
        rows = [_cells(run) for run in shown]
        table = _table(rows, width, colour) if rows else []
        return [_fit(head, width), "", *table, *(_fit(line, width) for line in below)]


def watch(
    folders: Sequence[str | Path],
    every: float = 2.0,
    once: bool = False,
    stream: TextIO | None = None,
) -> int:
    """Show runs until Ctrl-C; once where there is no terminal to draw on.

    Parameters
    ----------
    folders : sequence of str or Path
        Run folders, or folders of them at any depth; ``wandb:entity/project`` for the runs of a project of wandb.
    every : float
        Seconds between two updates; of a project of wandb at least 30 s.
    once : bool
        Print the view and return.
    stream : TextIO, optional
        Where to; standard output by default.

    Returns
    -------
    int
        0.

    Raises
    ------
    ValueError
        If at the start a folder does not exist or has no run, or ``every`` is not above 0.
    """
    if not every > 0:
        raise ValueError(f"--every {every}: expected seconds above 0")
    with as_folders(folders) as local:
        find_runs_among(local)
        return _watch(local, [str(folder) for folder in folders], every, once, sys.stdout if stream is None else stream)


def _watch(local: Sequence[Path], folders: Sequence[str], every: float, once: bool, stream: TextIO) -> int:
    seen = Watch(local)
    asked = time.monotonic()
    seen.update()
    terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
    if once or not terminal:
        print("\n".join(seen.lines(shutil.get_terminal_size((120, 0)).columns)), file=stream, flush=True)
        return 0
    colour = "NO_COLOR" not in os.environ
    with _screen(stream):
        try:
            while True:
                size = _draw(seen, stream, colour)
                until = time.monotonic() + every
                while time.monotonic() < until and os.get_terminal_size(stream.fileno()) == size:
                    time.sleep(min(0.1, every))
                if time.monotonic() >= until:  # else the window has another size: the same view again
                    if time.monotonic() - asked > WANDB_SECONDS:
                        fetch_again(zip(folders, local))
                        asked = time.monotonic()
                    seen.update()
        except KeyboardInterrupt:
            pass
    print("\n".join(seen.lines(shutil.get_terminal_size().columns, colour=colour)), file=stream, flush=True)
    return 0


def _draw(seen: Watch, stream: TextIO, colour: bool) -> os.terminal_size:
    size = os.get_terminal_size(stream.fileno())
    lines = seen.lines(size.columns, size.lines, colour)
    # From the top left; each line to its end, then all below is cleared: nothing flickers.
    stream.write("\x1b[H" + "\r\n".join(f"{line}\x1b[K" for line in lines[: size.lines]) + "\x1b[J")
    stream.flush()
    return size


@contextmanager
def _screen(stream: TextIO) -> Iterator[None]:
    """Take the alternate screen without a cursor, and give the terminal back however this ends, SIGTERM included."""

    def stop(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    stream.write("\x1b[?1049h\x1b[?25l\x1b[?7l")
    try:
        yield
    finally:
        stream.write("\x1b[?7h\x1b[?25h\x1b[?1049l")
        stream.flush()
        signal.signal(signal.SIGTERM, before)


def _cells(run: LiveRun) -> dict[str, str]:
    loss = run.values.get("train/loss")
    accuracy, rate, left = run.accuracy, run.images_per_second, run.seconds_left
    silent = f"silent {run.silent_minutes:.0f} min" if run.status == "silent" else run.status
    return {
        "run": run.path.resolve().name,
        "status": silent,
        "epoch": f"{run.epoch}" + (f"/{run.epochs}" if run.epochs is not None else ""),
        "loss": NOTHING if loss is None else f"{loss:.4g}",
        "accuracy": NOTHING if accuracy is None else shown(metric_cell(accuracy, [run.values[accuracy]])),
        "images/s": NOTHING if rate is None else f"{rate:,.0f}",
        "left": NOTHING if left is None else duration(left),
        "loss so far": _spark(list(run.losses)),
    }


def _table(rows: Sequence[dict[str, str]], width: int, colour: bool) -> list[str]:
    """Return heading and rows; columns are dropped, and names cut, until they fit."""
    columns = list(COLUMNS)
    for dropped in (*DROPPED, None):
        widths = {name: max(_width(name), *(_width(row[name]) for row in rows)) for name in columns}
        over = sum(widths.values()) + 2 * (len(columns) - 1) - width
        if over <= 0 or dropped is None:
            break
        if widths["run"] - over >= MIN_NAME:
            widths["run"] -= over
            break
        columns.remove(dropped)
    widths["run"] = max(1, min(widths["run"], width))
    lines = ["  ".join(_pad(_fit(name, widths[name]), widths[name], name) for name in columns)]
    for row in rows:
        cells = {name: _pad(_fit(row[name], widths[name]), widths[name], name) for name in columns}
        if colour:
            code = COLOURS.get(row["status"].split(" ")[0], "0")
            for name in ("status",) if "status" in cells else ("run",):
                cells[name] = f"\x1b[{code}m{cells[name]}\x1b[0m"
        lines.append("  ".join(cells.values()))
    return [line.rstrip() for line in lines]


def duration(seconds: float) -> str:
    """Return a duration in words, e.g. minutes and seconds.

    Examples
    --------
    >>> duration(42), duration(135), duration(7500), duration(200000)
    ('42 s', '2:15 min', '2:05 h', '2 d 7 h')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    if whole < 86400:
        return f"{whole // 3600}:{whole % 3600 // 60:02d} h"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def _spark(losses: list[float]) -> str:
    """Return the losses as bars, each the mean of as many steps; those that are no number as ``×``."""
    if len(losses) < 2:
        return ""
    count = min(SPARK, len(losses))
    parts = [losses[len(losses) * i // count : len(losses) * (i + 1) // count] for i in range(count)]
    means = [sum(part) / len(part) for part in parts]
    finite = [mean for mean in means if abs(mean) < float("inf")]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    scale = (len(BARS) - 1) / (high - low) if low < high < low + 1e300 else 0.0
    return "".join(BARS[round((mean - low) * scale)] if abs(mean) < float("inf") else "×" for mean in means)


def _printable(text: str) -> str:
    """Return text without codes that a terminal would act on."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _width(text: str) -> int:
    """Return how many places of the terminal text takes."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def _fit(text: str, width: int) -> str:
    """Return text cut to a width, with an ellipsis."""
    text = _printable(text)
    if _width(text) <= width:
        return text
    while text and _width(text) > width - 1:
        text = text[:-1]
    return f"{text}…"[:width] if width > 0 else ""


def _pad(text: str, width: int, column: str) -> str:
    space = " " * (width - _width(text))
    return text + space if column in ("run", "status", "loss so far") else space + text
