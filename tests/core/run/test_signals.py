"""What a signal does before, in and after a run, and what the summary says of the job that a scheduler made of it."""

import os
import signal
import subprocess
import sys

import pytest

from ssl_core.run.environment import slurm_job
from ssl_core.run.signals import StopSignal, block_signals, leave_at_once


@pytest.fixture
def before():
    """A launcher's handler is in place, as in a SLURM job, and is gone afterwards."""
    original = signal.signal(signal.SIGUSR2, leave_at_once)
    yield
    signal.signal(signal.SIGUSR2, original)


def test_signal_sets_a_flag_in_a_run_and_exits_outside(before):
    with pytest.raises(SystemExit) as left:
        os.kill(os.getpid(), signal.SIGUSR2)
    assert left.value.code == 75
    with StopSignal() as stop:
        os.kill(os.getpid(), signal.SIGUSR2)
        assert stop.name == "SIGUSR2"
    with pytest.raises(SystemExit):
        os.kill(os.getpid(), signal.SIGUSR2)


def test_handler_of_launcher_is_kept():
    got = []
    original = signal.signal(signal.SIGUSR2, lambda *_: got.append("launcher"))
    try:
        with StopSignal() as stop:
            os.kill(os.getpid(), signal.SIGUSR2)
        assert (got, stop.name) == (["launcher"], None)
    finally:
        signal.signal(signal.SIGUSR2, original)


def test_summary_has_slurm_job_or_array_task(monkeypatch):
    for name in list(os.environ):
        if name.startswith("SLURM_"):
            monkeypatch.delenv(name)
    assert slurm_job() == {}
    for name, value in {"JOB_ID": "8", "JOB_PARTITION": "gpu-he", "JOB_NODELIST": "node[1-2]"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    job = {"job": "8", "partition": "gpu-he", "nodes": "node[1-2]", "restarts": 0}
    assert slurm_job() == {"slurm": job}
    for name, value in {"ARRAY_JOB_ID": "7", "ARRAY_TASK_ID": "1", "RESTART_COUNT": "3"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert slurm_job() == {"slurm": {**job, "job": "7_1", "restarts": 3}}


def test_process_started_with_signals_blocked_survives_its_start():
    """The signal arrives before Python can have a handler; the upload to wandb is such a process."""
    code = "import sys; from ssl_core.run.signals import ignore_signals; ignore_signals(); print(sys.stdin.readline())"
    with block_signals():
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    process.send_signal(signal.SIGUSR2)
    assert process.communicate("finish")[0] == "finish\n"
    assert process.returncode == 0
