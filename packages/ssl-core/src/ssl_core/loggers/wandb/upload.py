"""Upload a run folder to wandb: its metrics, images and files.

``python3 -m ssl_core.loggers.wandb.upload FOLDER MODE`` is the process that a run starts (sink.py): it follows
``metrics.jsonl`` until "finish" arrives on stdin. ``stable-ssl sync-wandb`` uploads a folder once. Both send only the steps
that the server does not have.
"""

import glob
import json
import math
import os
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

from ssl_core.loggers.wandb.run_id import wandb_run_id
from ssl_core.run.folder import RunFolder
from ssl_core.run.signals import ignore_signals
from ssl_eval.runs.run_record import ENDED_WELL

ANSWER_SECONDS = 60.0  # limit for the answers of the server to a live run
POLL_SECONDS = 0.5  # between two reads of metrics.jsonl
Say = Callable[[str, str], None]  # level ("info" or "warning"), text


class Rows:
    """Metrics and images of a run that no longer change, in the order of their steps.

    Parameters
    ----------
    folder : RunFolder
        The run. The last line of ``metrics.jsonl`` may still grow; images are saved before the next line is written.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.steps: set[int] = set()  # so far
        self._position = 0
        self._images: set[Path] = set()

    def read(self, finished: bool) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield (step, values) of the new rows, an image as its path; ``finished``: the last line no longer changes."""
        text = b""
        if self.folder.metrics.exists():
            with open(self.folder.metrics, "rb") as file:
                file.seek(self._position)
                text = file.read()
        lines = [line for line in text.splitlines(keepends=True) if line.endswith(b"\n") or not finished]
        lines = lines if finished else lines[:-1]
        self._position += sum(map(len, lines))
        rows: list[tuple[int, dict[str, Any]]] = [(line.pop("step"), line) for line in map(json.loads, lines)]
        if rows or finished:
            last = math.inf if finished else rows[-1][0]
            for path in set(self.folder.images.rglob("step_*.png")) - self._images:
                step = int(path.stem.removeprefix("step_"))
                if step <= last:
                    self._images.add(path)
                    rows.append((step, {path.parent.relative_to(self.folder.images).as_posix(): path}))
        for step, values in sorted(rows, key=itemgetter(0)):
            self.steps.add(step)
            yield step, values


def upload(folder: RunFolder, mode: str, finished: threading.Event, say: Say, timeout: float | None = None) -> int:
    """Upload a run folder until ``finished`` is set and everything is sent.

    Parameters
    ----------
    folder : RunFolder
        The run.
    mode : str
        "online", or "offline": write what wandb would send into ``<run>/wandb``.
    finished : Event
        Set when the run has ended.
    say : callable
        Takes a level and a message for the user.
    timeout : float, optional
        Seconds for each request. Default: with a live run, wandb retries for as long as the run lasts.

    Returns
    -------
    int
        0: everything has arrived. 1: not everything. 2: no login, or no answer from the server.
    """
    os.environ |= {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true", "WANDB_MODE": mode}
    import wandb

    try:
        if mode == "online" and not wandb.login(prompt=False, verify=False):
            say("warning", "no login was found; run `wandb login`")
            return 2
        try:
            run = wandb.init(**_options(wandb, folder, mode, timeout))
        except wandb.Error as error:
            say("warning", f"the server does not answer: {error}")
            return 2
        say("info", f"the run is at {run.url if mode == 'online' else folder.wandb}")
        rows, over = Rows(folder), False
        while not over:
            over = finished.wait(POLL_SECONDS)
            for step, values in rows.read(over):
                if step >= run.starting_step:  # where the server has no steps yet
                    run.log(
                        {k: wandb.Image(str(v)) if isinstance(v, Path) else v for k, v in values.items()}, step=step
                    )
        _finish(wandb, run, folder, max(rows.steps, default=0))
        return 0 if mode == "offline" else _check_arrival(wandb, run.path, len(rows.steps), say, timeout)
    except (wandb.Error, ValueError) as error:
        say("warning", str(error))
        return 1


def _options(wandb: Any, folder: RunFolder, mode: str, timeout: float | None) -> dict[str, Any]:
    """Return the arguments of ``wandb.init``."""
    identity, config = wandb_run_id(folder), folder.read_config()
    if mode == "offline":
        for earlier in folder.wandb.glob(f"offline-run-*-{glob.escape(identity)}"):
            shutil.rmtree(earlier)  # its content is in metrics.jsonl too
    # What wandb shows as the command
    sys.argv = shlex.split(folder.read_summary().get("command", ""))[1:] or sys.argv[:1]
    os.environ["WANDB_PROGRAM"] = sys.argv[0]
    settings: dict[str, Any] = {"console": "off", "init_timeout": timeout or ANSWER_SECONDS}
    if timeout is None:
        settings["x_stats_pid"] = os.getppid()  # processor and memory of the run
    else:
        settings["x_disable_stats"] = True
        limits = {
            "timeout_seconds": timeout,
            "retry_max": 1,
            "retry_wait_min_seconds": 1.0,
            "retry_wait_max_seconds": 2.0,
        }
        for request in ("file_stream", "file_transfer", "graphql"):
            settings |= {f"x_{request}_{name}": value for name, value in limits.items()}
    return {
        "project": config.get("log", {}).get("wandb_project"),
        "id": identity,
        "name": folder.path.resolve().name,
        "config": config,
        "allow_val_change": True,  # keys that may differ on resume
        "dir": str(folder.path),
        "mode": mode,
        "resume": "allow" if mode == "online" else None,
        "settings": wandb.Settings(**settings),
    }


def _finish(wandb: Any, run: Any, folder: RunFolder, last: int) -> None:
    """Send the figure, the files and the status of the run."""
    if folder.curves.exists() and last >= run.starting_step:
        run.log({"curves": wandb.Image(str(folder.curves))}, step=last)
    for path in (folder.config, folder.summary, folder.table, folder.table_json, folder.diverged, folder.profile):
        if path.exists():  # as <run>/config.yaml: wandb has a config.yaml of its own
            run.save(str(path), base_path=str(folder.path.parent), policy="now")
    status = folder.read_summary().get("status")
    if status == "preempted":
        run.mark_preempting()
    run.finish(exit_code=0 if status in ENDED_WELL else 1)


def _check_arrival(wandb: Any, path: str, steps: int, say: Say, timeout: float | None) -> int:
    """Ask the server how many rows it has: wandb does not report an upload that has failed."""
    for _ in range(10):
        found = wandb.Api(timeout=int(timeout or ANSWER_SECONDS)).run(path).historyLineCount
        if found >= steps:
            say("info", f"all {steps} steps have arrived")
            return 0
        time.sleep(1.0)  # the server may still process them
    say("warning", f"{found} of {steps} steps have arrived")
    return 1


def main() -> int:
    """Upload the folder of a live run; end at once when the run is gone."""
    ignore_signals()  # a scheduler sends them to all processes of a job
    messages = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # wandb's service must neither print there nor keep the pipe open
    finished = threading.Event()

    def listen() -> None:
        if sys.stdin.readline():
            finished.set()
        else:  # the run was killed; wandb's service ends with this process
            os._exit(1)

    threading.Thread(target=listen, daemon=True).start()

    def say(level: str, text: str) -> None:
        print(level, " ".join(text.split())[:1000], file=messages)

    return upload(RunFolder(sys.argv[1]), sys.argv[2], finished, say)


if __name__ == "__main__":
    sys.exit(main())
