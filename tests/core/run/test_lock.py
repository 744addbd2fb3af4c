"""The lock of a run folder: killed processes, and systems without file locks."""

import ctypes
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
from ssl_core.run.lock import SILENT_SECONDS, RunLock, _is_alive

HOLD = """
import sys, time
from pathlib import Path
from ssl_core.run.lock import RunLock
with RunLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_second_run_raises_until_the_first_is_killed(tmp_path):
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


@pytest.fixture(params=["file system", "Windows"])
def _no_locks(request, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    if request.param == "Windows":  # which has no fcntl
        monkeypatch.setattr("ssl_core.run.lock.fcntl", None)
    else:
        monkeypatch.setattr(fcntl, "flock", fail)


def left_behind(path, host, process, seconds_ago):
    path.write_text(json.dumps({"host": host, "process": process, "since": "2026-01-01 00:00:00"}))
    os.utime(path, (time.time() - seconds_ago,) * 2)


@pytest.mark.usefixtures("_no_locks")
@pytest.mark.parametrize(
    ("host", "process", "seconds_ago", "is_held"),
    [
        (socket.gethostname(), os.getpid(), 0.0, True),
        (socket.gethostname(), os.getpid(), 1e6, False),  # taken before that process began: its number was reused
        (socket.gethostname(), 2**22 + 1, 1.0, False),  # no such process
        ("another-node", 1, 1.0, True),
        ("another-node", 1, SILENT_SECONDS + 60, False),
    ],
    ids=[
        "alive",
        "reused",
        "gone",
        "elsewhere",
        "elsewhere and silent",
    ],  # not the process: two workers must find the same tests
)
def test_without_file_locks_the_holder_is_looked_up(tmp_path, host, process, seconds_ago, is_held):
    path = tmp_path / ".lock"
    left_behind(path, host, process, seconds_ago)
    if is_held:
        with pytest.raises(RunFolderError, match=f"process {process} on {host}"):
            RunLock(path).__enter__()
    else:
        with RunLock(path):
            assert json.loads(path.read_text())["process"] == os.getpid()


@pytest.mark.usefixtures("_no_locks")
def test_without_file_locks_growing_metrics_mean_alive(tmp_path):
    left_behind(tmp_path / ".lock", "another-node", 1, SILENT_SECONDS + 60)
    (tmp_path / "metrics.jsonl").write_text("{}")
    with pytest.raises(RunFolderError, match="another run works"):
        RunLock(tmp_path / ".lock").__enter__()


@pytest.mark.parametrize(
    ("handle", "error", "code", "alive"), [(0, 87, 0, False), (0, 5, 0, True), (7, 0, 259, True), (7, 0, 1, False)]
)
def test_process_on_windows_is_looked_up_not_killed(monkeypatch, handle, error, code, alive):
    """No such process, one of another user, a running one, one that has ended."""

    class Kernel:
        OpenProcess = staticmethod(lambda access, inherit, process: handle)
        CloseHandle = staticmethod(lambda handle: None)

        @staticmethod
        def GetExitCodeProcess(handle, reference):
            reference._obj.value = code

    monkeypatch.setattr(ctypes, "WinDLL", lambda *_, **__: Kernel, raising=False)
    monkeypatch.setattr(ctypes, "get_last_error", lambda: error, raising=False)
    monkeypatch.setattr(os, "kill", None)
    monkeypatch.setattr(sys, "platform", "win32")
    assert _is_alive(1234) is alive
