"""The process that talks to wandb, so that a training run never waits for a network.

``python -m ssl_core.wandb_uploader FOLDER MODE [SECONDS]`` is started by ``WandbUpload``. It follows ``metrics.jsonl``, which
is the truth: what the server has already is not sent again, whichever earlier process sent it, and however far a run that
was killed has gone back since.
"""

import fcntl
import glob
import json
import os
import select
import shlex
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

import yaml

from ssl_core.run_folder import RunFolder
from ssl_core.wandb_run_id import wandb_run_id
from ssl_eval.run_record import ENDED_WELL

ANSWER_SECONDS = 30.0  # within which the server must answer at the start, where SECONDS does not say otherwise
RETRY_SECONDS = 60.0  # until it is asked again
LOOK_SECONDS = 0.5  # between two looks at metrics.jsonl
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)


class Starter:
    """The process that started this one: what it asks for, and how it is answered. Without it this process ends."""

    def __init__(self) -> None:
        # wandb's service inherits 0 and 1: it must neither hold the pipes open nor print into them
        self._ear, self._mouth = os.dup(0), os.dup(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(2, 1)
        self._parent = os.getppid()
        self.follows = threading.Event()
        self.finishes = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def say(self, kind: str, text: str = "") -> None:
        """Send one line."""
        os.write(self._mouth, f"{kind} {' '.join(text.split())}"[:1000].encode() + b"\n")

    def _listen(self) -> None:
        # A worker that the run has forked may hold the pipe open when the run is gone: hence the question for the parent.
        while os.getppid() == self._parent:
            if select.select([self._ear], [], [], LOOK_SECONDS)[0]:
                words = os.read(self._ear, 1000).split()
                if not words:
                    break
                if b"finish" in words:
                    self.finishes.set()
                self.follows.set()
        os._exit(1)  # wandb's service ends when its parent does


class SettledLines:
    """Reads the lines of ``metrics.jsonl`` that will not change any more: all but the last, which may still grow."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0
        self.steps = 0  # different ones, so far
        self._step = None

    def read(self, all_of_them: bool) -> list[dict[str, Any]]:
        """Return those that are new since the last call; ``all_of_them``: the run has ended, its last line is settled too."""
        if not self.path.exists():
            return []
        with open(self.path, "rb") as file:
            file.seek(self._position)
            text = file.read()
        end = text.rfind(b"\n") + 1
        if not all_of_them:
            end = text.rfind(b"\n", 0, max(end - 1, 0)) + 1
        self._position += end
        lines = [json.loads(line) for line in text[:end].splitlines()]
        for line in lines:
            self.steps += line["step"] != self._step
            self._step = line["step"]
        return lines


def main() -> int:
    """Upload; return 0 if everything has arrived, 1 if not, 2 if nobody is logged in, 3 if the server does not answer."""
    for number in STOP_SIGNALS:  # a scheduler sends them to all processes of a job; the run says when to stop
        signal.signal(number, signal.SIG_IGN)
    folder, mode = RunFolder(sys.argv[1]), sys.argv[2]
    seconds = float(sys.argv[3]) if sys.argv[3:] else None
    starter = Starter()
    os.environ["WANDB_ERROR_REPORTING"] = "false"  # its reports on itself would be one more server to wait for
    os.environ["WANDB_SILENT"] = "true"  # else wandb.login asks the server for the name to print
    import wandb

    if mode == "online" and (refusal := _login_refusal(wandb)):
        starter.say("refused", refusal)
        return 2
    starter.say("ready")
    starter.follows.wait()
    with open(folder.wandb / ".lock", "a") as lock:
        if not _alone(lock, waits=seconds is None):
            starter.say("warning", "is being sent this run by another process; wait until that has ended")
            return 1
        return _upload(wandb, folder, mode, seconds, starter)


def _login_refusal(wandb: Any) -> str:
    try:
        return "" if wandb.login(prompt=False, verify=False) else "nobody is logged in to wandb"
    except wandb.Error as error:
        return str(error)


def _alone(lock: TextIO, waits: bool) -> bool:
    """Return whether no other process uploads this folder; beside a run, wait: one whose run was killed is about to end."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system that cannot lock
        return True
    return True


def _upload(wandb: Any, folder: RunFolder, mode: str, seconds: float | None, starter: Starter) -> int:
    run = _start(wandb, folder, mode, seconds, starter)
    if run is None:
        return 3
    starter.say("info", f"shows the run at {run.url}" if mode == "online" else f"keeps the run in {folder.wandb}")
    lines = SettledLines(folder.metrics)
    finishes = False
    while not finishes:
        finishes = starter.finishes.wait(LOOK_SECONDS)
        for line in lines.read(all_of_them=finishes):
            if line["step"] >= run.starting_step:  # else the server has it
                run.log({name: value for name, value in line.items() if name != "step"}, step=line["step"])
    status = folder.read_summary().get("status")
    for path in _shown(folder):
        if path.exists():  # as <run>/config.yaml: a config.yaml of its own wandb has already
            run.save(str(path), base_path=str(folder.path.parent), policy="now")
    if status == "preempted":
        run.mark_preempting()
    run.finish(exit_code=0 if status in ENDED_WELL else 1)
    return 0 if mode == "offline" or _has_arrived(wandb, run.path, lines.steps, seconds, starter) else 1


def _shown(folder: RunFolder) -> tuple[Path, ...]:
    """Return the files that a run may have, and that are shown beside its lines."""
    return (
        folder.config,
        folder.summary,
        folder.table,
        folder.table_json,
        folder.curves,
        folder.diverged,
        folder.profile,
    )


def _start(wandb: Any, folder: RunFolder, mode: str, seconds: float | None, starter: Starter) -> Any:
    """Return the wandb run; None if the server does not answer and the run cannot wait any more."""
    identity = wandb_run_id(folder)
    if mode == "offline":  # what an earlier process has kept is in metrics.jsonl too
        for earlier in folder.wandb.glob(f"offline-run-*-{glob.escape(identity)}"):
            shutil.rmtree(earlier)
    config = yaml.safe_load(folder.config.read_text())
    # wandb shows the command that this process was started with; it should be that of the run
    sys.argv = shlex.split(folder.read_summary().get("command", ""))[1:] or sys.argv[:1]
    os.environ["WANDB_PROGRAM"] = sys.argv[0]
    warned = False
    while True:
        try:
            return wandb.init(
                project=config.get("log", {}).get("wandb_project"),
                id=identity,
                name=folder.path.resolve().name,
                dir=str(folder.path),
                config=config,
                allow_val_change=True,  # keys that are free on resume
                mode=mode,
                resume="allow" if mode == "online" else None,
                settings=wandb.Settings(**_settings(seconds)),
            )
        except wandb.Error as error:
            wandb.teardown()  # else its service still has the run in use
            if starter.finishes.is_set():
                starter.say("warning", f"does not answer: {error}")
                return None
            if not warned:
                starter.say("warning", f"does not answer: {error}; it is asked again every {RETRY_SECONDS:.0f} s")
                warned = True
            starter.finishes.wait(RETRY_SECONDS)


def _settings(seconds: float | None) -> dict[str, Any]:
    """Return wandb's settings. Beside a run it may try for hours; with ``seconds`` somebody waits for each request."""
    settings: dict[str, Any] = {"console": "off", "silent": True, "init_timeout": seconds or ANSWER_SECONDS}
    if seconds is None:
        return settings | {"x_stats_pid": os.getppid()}  # the run's processor and memory, not those of this process
    for requests in ("file_stream", "file_transfer", "graphql"):
        settings |= {f"x_{requests}_timeout_seconds": seconds, f"x_{requests}_retry_max": 1}
        settings |= {f"x_{requests}_retry_wait_min_seconds": 1.0, f"x_{requests}_retry_wait_max_seconds": 2.0}
    return settings | {"x_disable_stats": True}


def _has_arrived(wandb: Any, path: str, steps: int, seconds: float | None, starter: Starter) -> bool:
    """Ask the server how many lines it has: a run whose upload has failed finishes as if it had not."""
    found = -1
    for _ in range(10):
        try:
            found = wandb.Api(timeout=int(seconds or ANSWER_SECONDS)).run(path).historyLineCount
        except (wandb.Error, ValueError) as error:
            starter.say("warning", f"does not say what has arrived: {error}")
            return False
        if found >= steps:
            starter.say("info", f"has all {steps} lines")
            return True
        time.sleep(1.0)  # it may still be at work on them
    starter.say("warning", f"has {found} lines of {steps}")
    return False


if __name__ == "__main__":
    sys.exit(main())
