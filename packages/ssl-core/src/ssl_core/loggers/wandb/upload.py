"""Upload a run folder to wandb: its metrics, images and files. Only the steps that the server does not have are sent.

``python3 -m ssl_core.loggers.wandb.upload FOLDER MODE LEVEL`` is the process that a run starts (sink.py): it follows
``metrics.jsonl`` until "finish" arrives on stdin. :func:`sync` is ``stable-ssl sync-wandb``.
"""

import glob
import importlib.util
import json
import logging
import math
import os
import secrets
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from ssl_core.errors import RunError
from ssl_core.run.atomic_file import write_atomically
from ssl_core.run.folder import RunFolder
from ssl_core.run.lock import is_worked_in
from ssl_core.run.signals import ignore_signals
from ssl_eval.runs.run_record import ENDED_WELL

_message = logging.getLogger(__name__)
ANSWER_SECONDS = 60.0  # limit for the answers of the server to a live run
POLL_SECONDS = 0.5  # between two reads of metrics.jsonl


class NoServerError(RunError):
    """There is no login, or no answer from the server: another upload would fail in the same way."""

    exit_code = 2


class Rows:
    """Metrics and images of a run that no longer change, in the order of their steps.

    The last line of ``metrics.jsonl`` may still grow; images are saved before the next line is written.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.steps: set[int] = set()  # so far
        self._position = 0
        self._images: set[Path] = set()

    def read(self, finished: bool) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield (step, values) of the new rows, an image as its path; ``finished``: the last line no longer changes."""
        lines: list[bytes] = []
        if self.folder.metrics.exists():
            with open(self.folder.metrics, "rb") as file:
                file.seek(self._position)
                lines = file.readlines()
        lines = [line for line in lines if line.endswith(b"\n")] if finished else lines[:-1]
        self._position += sum(map(len, lines))
        rows: list[tuple[int, dict[str, Any]]] = [(line.pop("step"), line) for line in map(json.loads, lines)]
        last = math.inf if finished else max((step for step, _ in rows), default=-1)
        for path in set(self.folder.images.rglob("step_*.png")) - self._images if rows or finished else ():
            step = int(path.stem.removeprefix("step_"))
            if step <= last:
                self._images.add(path)
                rows.append((step, {path.parent.relative_to(self.folder.images).as_posix(): path}))
        for step, values in sorted(rows, key=itemgetter(0)):
            self.steps.add(step)
            yield step, values


def upload(folder: RunFolder, mode: str, ended: threading.Event, timeout: float | None = None) -> str:
    """Upload a run until it has ``ended``; return what has arrived, and where. Raises a RunError if something has not.

    Parameters
    ----------
    mode : str
        "online", or "offline": write what wandb would send into ``<run>/wandb``.
    timeout : float, optional
        Seconds for each request. Default: with a live run, wandb retries for as long as the run lasts.
    """
    os.environ |= {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true", "WANDB_MODE": mode}
    import wandb

    try:
        if mode == "online" and not wandb.login(prompt=False, verify=False):
            raise NoServerError("no login was found; run `wandb login`")
        try:
            run = _start(wandb, folder, mode, timeout)
        except wandb.Error as error:
            raise NoServerError(f"the server does not answer: {error}") from error
        place = run.url if mode == "online" else folder.wandb
        _message.info("wandb: the run is at %s", place)
        rows, over = Rows(folder), False
        while not over:
            over = ended.wait(POLL_SECONDS)
            for step, values in rows.read(over):
                if step >= run.starting_step:  # where the server has no steps yet
                    run.log(
                        {k: wandb.Image(str(v)) if isinstance(v, Path) else v for k, v in values.items()}, step=step
                    )
        _finish(wandb, run, folder, max(rows.steps, default=0))
        expected = len(rows.steps)
        found = expected if mode == "offline" else _count_arrived(wandb, run.path, expected, timeout)
    except (wandb.Error, ValueError) as error:
        raise RunError(str(error)) from error
    if found < expected:
        raise RunError(f"{found} of {expected} steps have arrived at {place}")
    return f"all {expected} steps have arrived at {place}"


def _start(wandb: Any, folder: RunFolder, mode: str, timeout: float | None) -> Any:
    """Start or continue the wandb run of the folder."""
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
        _limit_requests(wandb, timeout)
    return wandb.init(
        project=config.get("log", {}).get("wandb_project"),
        id=identity,
        name=folder.path.resolve().name,
        config=config,
        allow_val_change=True,  # keys that may differ on resume
        dir=str(folder.path),
        mode=mode,
        resume="allow" if mode == "online" else None,
        settings=wandb.Settings(**settings),
    )


def _limit_requests(wandb: Any, timeout: float) -> None:
    """Limit each request of this process, also those of ``wandb.Api``, to ``timeout`` seconds and one retry.

    wandb's service repeats a request of ``wandb.Api`` for minutes, and this process waits for the service at its end.
    """
    limits: dict[str, float] = {}
    for request in ("x_file_stream", "x_file_transfer", "x_graphql"):
        limits |= {f"{request}_timeout_seconds": timeout, f"{request}_retry_max": 1}
        limits |= {f"{request}_retry_wait_min_seconds": 1.0, f"{request}_retry_wait_max_seconds": 2.0}
    wandb.setup(settings=wandb.Settings(**limits))


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


def _count_arrived(wandb: Any, path: str, expected: int, timeout: float | None) -> int:
    """Ask the server how many rows it has: wandb does not report an upload that has failed."""
    for attempt in range(10):
        time.sleep(min(attempt, 1))  # the server may still process them
        found = wandb.Api(timeout=int(timeout or ANSWER_SECONDS)).run(path).historyLineCount
        if found >= expected:
            break
    return found


def wandb_run_id(folder: RunFolder) -> str:
    """Return the id in ``wandb.json``, or create one.

    A moved folder keeps its id. A copy (the folder that it names still exists, with the same id) gets a new one, since both
    may be trained further.
    """
    here = folder.path.resolve()
    known = _read_id(folder)
    origin = RunFolder(known.get("folder", here))
    is_copy = origin.path != here and _read_id(origin).get("id") == known["id"] and not origin.path.samefile(here)
    if is_copy or not known:
        known = {"id": secrets.token_hex(8)}
    if known.get("folder") != str(here):
        known["folder"] = str(here)
        write_atomically(folder.wandb_id, json.dumps(known) + "\n")
    return known["id"]


def _read_id(folder: RunFolder) -> dict[str, Any]:
    return json.loads(folder.wandb_id.read_text()) if folder.wandb_id.exists() else {}


def sync(patterns: Sequence[str], timeout: float) -> int:
    """Upload the run folders of the patterns, e.g. ``outputs/*``, with a time limit for each request; print a line for each.

    The exit code is 0 if everything has arrived, 1 if not, and 2 if there is no login or no server.
    """
    if importlib.util.find_spec("wandb") is None:
        print("sync-wandb: wandb is not installed; pip install wandb", file=sys.stderr)
        return 2
    worst, ended = 0, threading.Event()
    ended.set()
    for path in [path for pattern in patterns for path in (sorted(glob.glob(pattern)) or [pattern])]:
        folder = RunFolder(path)
        try:
            if not folder.config.is_file() or not folder.metrics.is_file():
                raise RunError("not a run folder (config.yaml or metrics.jsonl is missing)")
            if is_worked_in(folder.lock):
                raise RunError("the run is in progress; rerun this command after its end")
            folder.wandb.mkdir(exist_ok=True)
            print(f"{path}: {upload(folder, 'online', ended, timeout)}", flush=True)
        except (RunError, OSError) as error:
            print(f"{path}: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
            worst = max(worst, getattr(error, "exit_code", 1))
        if worst == NoServerError.exit_code:  # the next folder would end in the same way
            break
    return worst


def main(folder: str, mode: str, level: str) -> int:
    """Upload the folder of a live run; end at once when the run is gone."""
    ignore_signals()  # a scheduler sends them to all processes of a job
    # Messages go to the stderr of the run; wandb's service must neither print there nor keep it open
    logging.basicConfig(stream=os.fdopen(os.dup(2), "w"), level=level.upper(), format="%(message)s")
    os.dup2(1, 2)
    ended = threading.Event()

    def listen() -> None:
        if sys.stdin.readline():
            ended.set()
        else:  # the run was killed; wandb's service ends with this process
            os._exit(1)

    threading.Thread(target=listen, daemon=True).start()
    try:
        upload(RunFolder(folder), mode, ended)
    except RunError as error:
        _message.warning("wandb: %s; the run continues", " ".join(str(error).split())[:1000])
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
