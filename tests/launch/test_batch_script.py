"""Which ends of a job let it come back: the shell itself, with ``squeue`` and ``scontrol`` that only write down who asked."""

import subprocess

import pytest

from ssl_launch import batch_script


@pytest.fixture
def end(tmp_path):
    """Return a function that ends a job with an exit code, and gives the shell's own, what was asked for, and what was said."""
    for name, action in {"squeue": 'echo "$STATE"', "scontrol": f'echo "$@" >> {tmp_path}/asked'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{action}\n")
        (tmp_path / name).chmod(0o755)

    def run(code, state="RUNNING", seconds=0, **array):
        (tmp_path / "asked").unlink(missing_ok=True)
        (tmp_path / "it's 7_1").mkdir(exist_ok=True)
        lines = batch_script.after(
            f"{tmp_path}/it's %j", timeout_min=60, signal_delay_s=120, max_num_timeout=2, max_num_crashes=1
        )
        script = "\n".join([*batch_script.BEFORE, f"SECONDS={seconds}; (exit {code})", *lines])
        environment = {
            "PATH": f"{tmp_path}:/usr/bin:/bin", "STATE": state, "SLURM_JOB_ID": "7",  # that of the array
            "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1",
        }  # fmt: skip
        result = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=30)
        assert result.returncode == code
        asked = (tmp_path / "asked").read_text() if (tmp_path / "asked").exists() else ""
        assert asked in ("", "requeue 7_1\n")
        return bool(asked), result.stderr

    return run


@pytest.mark.parametrize("code", [0, 1, 2, 3, 4, 74, 139])
def test_a_run_that_has_ended_or_failed_by_itself_does_not_come_back(end, code):
    """139: a segmentation fault, which is a bug."""
    assert end(code) == (False, "")


@pytest.mark.parametrize("code", [75, 138, 140, 143])
def test_a_run_that_was_stopped_comes_back_as_often_as_it_takes(end, code):
    for times in range(1, 6):
        assert end(code) == (True, f"ssl-launch: job 7_1 is queued again: preempted, {times} times by now\n")


def test_time_that_is_up_and_processes_that_are_killed_are_counted_each_by_itself(end):
    """At 60 minutes, told 120 s before and up to 60 s too early: from 3,420 s on the time was up."""
    assert end(75, seconds=3419)[0]
    assert [end(75, seconds=3421)[0] for _ in range(3)] == [True, True, False]
    assert [end(137)[0] for _ in range(2)] == [True, False]
    assert "given up: killed 3 times, hydra.launcher.max_num_crashes=1" in end(137)[1]
    assert end(75)[0]


def test_a_job_that_was_cancelled_stays_so_and_one_that_slurm_requeues_is_left_to_it(end):
    for state in ("COMPLETING", "CANCELLED", "PREEMPTED", "REQUEUED"):
        assert end(75, state=state) == (False, "")
        assert end(137, state=state) == (False, "")
