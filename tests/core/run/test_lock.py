"""The lock of a run folder, with a process that is really killed, and on a file system that cannot lock."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from ssl_core.errors import RunFolderError
from ssl_core.run.lock import SILENT_SECONDS, RunLock

HOLD = """
import sys, time
from pathlib import Path
from ssl_core.run.lock import RunLock
with RunLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_of_a_living_process_refuses_and_that_of_a_killed_one_is_taken_over(tmp_path):
    path = tmp_path / "run" / ".lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            with pytest.raises(RunFolderError, match=rf"process {process.pid} on {socket.gethostname()} since 20"):
                RunLock(path).__enter__()
        finally:
            process.send_signal(signal.SIGKILL)
    assert json.loads(path.read_text())["process"] == process.pid  # nobody has tidied up
    with RunLock(path):
        assert json.loads(path.read_text())["process"] == os.getpid()
    assert path.read_text() == ""


def test_other_ranks_take_no_lock(tmp_path):
    with RunLock(tmp_path / ".lock"), RunLock(tmp_path / ".lock", takes=False):
        pass


@pytest.fixture
def _no_locks(monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)


def left_behind(path, host, process, seconds_ago):
    path.write_text(json.dumps({"host": host, "process": process, "since": "2026-01-01 00:00:00"}))
    os.utime(path, (time.time() - seconds_ago,) * 2)


@pytest.mark.usefixtures("_no_locks")
@pytest.mark.parametrize(
    ("host", "process", "seconds_ago", "is_held"),
    [
        (socket.gethostname(), os.getpid(), 1e6, True),  # alive, however silent
        (socket.gethostname(), 2**22 + 1, 1.0, False),  # no such process
        ("another-node", 1, 1.0, True),
        ("another-node", 1, SILENT_SECONDS + 60, False),
    ],
    ids=["alive", "gone", "elsewhere", "elsewhere and silent"],  # not the process: two workers must find the same tests
)
def test_where_the_file_system_cannot_lock_what_can_be_seen_decides(tmp_path, host, process, seconds_ago, is_held):
    path = tmp_path / ".lock"
    left_behind(path, host, process, seconds_ago)
    if is_held:
        with pytest.raises(RunFolderError, match=f"process {process} on {host}"):
            RunLock(path).__enter__()
    else:
        with RunLock(path):
            assert json.loads(path.read_text())["process"] == os.getpid()


@pytest.mark.usefixtures("_no_locks")
def test_there_too_a_run_whose_metrics_grow_is_alive(tmp_path):
    left_behind(tmp_path / ".lock", "another-node", 1, SILENT_SECONDS + 60)
    (tmp_path / "metrics.jsonl").write_text("{}")
    with pytest.raises(RunFolderError, match="another run works"):
        RunLock(tmp_path / ".lock").__enter__()
