"""Which exit codes requeue a job: the real shell of the batch script, with stand-ins for ``squeue`` and ``scontrol``."""

import subprocess
import time
from importlib.resources import files

import pytest

from ssl_core.errors import Preempted
from ssl_launch.slurm import sbatch_script
from ssl_launch.slurm.errors import COMMENT


@pytest.fixture
def end(tmp_path):
    """Return a function that ends a job with an exit code and returns (requeued, messages).

    Its attributes: the folders of the job and of its checkpoints, and the comment of the job.
    """
    for name, action in {
        "squeue": 'case $* in *%T*) echo "$STATE";; *%L*) echo "$LEFT";; esac',
        "scontrol": f'for each in "$@"; do echo "$each" >> {tmp_path}/asked; done',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{action}\n")
        (tmp_path / name).chmod(0o755)
    asked = tmp_path / "asked"

    def run(code, state="RUNNING", seconds=0, left="1-00:00:00", during="true", checkpoints=True):
        asked.unlink(missing_ok=True)
        run.folder.mkdir(exist_ok=True)
        run.checkpoints.mkdir(exist_ok=True)
        folders = ["elsewhere", str(run.checkpoints)] if checkpoints else []
        limits = {"timeout_min": 60, "signal_delay_s": 120, "max_num_timeout": 2, "max_num_crashes": 1}
        setup = sbatch_script.setup(f"{tmp_path}/it's %j", folders, **limits)
        script = "\n".join([*setup, f"SECONDS={seconds}; {during}; (exit {code})", *sbatch_script.teardown(["true"])])
        environment = {
            "PATH": f"{tmp_path}:/usr/bin:/bin", "STATE": state, "LEFT": left, "SLURM_JOB_ID": "7",  # of the array
            "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1",
        }  # fmt: skip
        result = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=240)
        assert result.returncode == code
        calls = asked.read_text().splitlines() if asked.exists() else []
        run.comment = "".join(each for each in calls if each.startswith("Comment="))
        assert not run.comment or COMMENT.fullmatch(run.comment.removeprefix("Comment="))
        assert calls in ([], ["requeue", "7_1"], ["update", "JobId=7_1", run.comment])
        return "requeue" in calls, result.stderr

    run.folder, run.checkpoints = tmp_path / "it's 7_1", tmp_path / "its checkpoints"
    return run


def new_checkpoint(end, step):
    """Return a shell command that writes a checkpoint."""
    return f"touch '{end.checkpoints}/step_{step:08d}.pt'"


def test_shell_file_is_valid_bash():
    subprocess.run(["bash", "-n", str(files("ssl_launch.slurm") / "requeue.sh")], check=True)


@pytest.mark.parametrize("code", [0, 1, 2, 3, 4, 74, 139])
def test_completed_and_failed_runs_are_not_requeued(end, code):
    """139: a segmentation fault, which is a bug."""
    assert end(code) == (False, "")


@pytest.mark.parametrize("code", [Preempted.exit_code, 138, 140, 143])
def test_preempted_run_is_always_requeued(end, code):
    for count in range(1, 6):
        assert end(code) == (
            True, f"ssl-launch: job 7_1 is requeued: preempted, restart {count} for this reason\n"
        )  # fmt: skip


def test_timeouts_and_kills_are_limited_separately(end):
    """At 60 minutes, with 120 s of notice that may come 60 s too early: from 3,420 s on it is a timeout."""
    assert end(75, seconds=3419)[0]
    assert [end(75, seconds=3421, during=new_checkpoint(end, n))[0] for n in range(3)] == [True, True, False]
    assert "not requeued: timeout 3 times, hydra.launcher.max_num_timeout=2" in end.comment
    assert [end(137)[0] for _ in range(2)] == [True, False]
    assert "not requeued: killed 2 times, hydra.launcher.max_num_crashes=1" in end(137)[1]
    assert end.comment.startswith("Comment=ssl-launch, exit code 1: not requeued: killed 2 times, ")
    assert end(75)[0]


def test_two_timeouts_without_a_newer_checkpoint_end_the_job(end):
    reason = "timeout without a newer checkpoint"
    assert end(75, seconds=3600) == (
        True, f"ssl-launch: job 7_1 is requeued: {reason}, restart 1 for this reason\n"
    )  # fmt: skip
    assert end(75)[0]  # a preemption between them
    assert end(75, seconds=3600)[0]
    again, messages = end(75, seconds=3600)
    assert not again
    assert f"not requeued: {reason}, twice in a row; increase hydra.launcher.timeout_min" in messages
    assert f"{reason}, twice in a row" in end.comment
    (end.folder / "restarts").unlink()
    assert end(75, seconds=3600)[0]
    assert end(75, seconds=3600, during=new_checkpoint(end, 1))[0]
    assert not end(75, seconds=3600)[0]  # max_num_timeout
    (end.folder / "restarts").unlink()
    assert [end(75, seconds=3600, checkpoints=False)[0] for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize(("left", "again"), [("0:20", True), ("0:05", True), ("-0:10", True), ("1:00", False)])
def test_job_is_requeued_20_seconds_before_its_time_limit(end, left, again):
    """SLURM then kills the step; end_job is not reached."""
    began = time.monotonic()
    found, messages = end(0, left=left, during="sleep 0.5")
    assert found is again
    assert ("is requeued: timeout without a newer checkpoint" in messages) is again
    assert time.monotonic() - began < 10  # the watch ends with the job


@pytest.mark.parametrize(
    ("left", "seconds"),
    [("0:45", 25), ("10:00", 580), ("10:21", 600), ("2:00:00", 600), ("3-00:00:00", 600), ("INVALID", 60), ("", 60)],
)
def test_time_left_is_read_in_all_formats_of_squeue(end, tmp_path, left, seconds):
    (tmp_path / "sleep").write_text(f"#!/bin/sh\necho $1 >> {tmp_path}/slept\nexec /usr/bin/sleep 1\n")
    (tmp_path / "sleep").chmod(0o755)
    assert end(0, left=left, during="/usr/bin/sleep 0.5") == (False, "")
    assert (tmp_path / "slept").read_text().split() == [str(seconds)]


def test_killed_job_without_restart_count_is_not_requeued(end):
    end.folder.mkdir()
    (end.folder / "restarts").mkdir()  # not a file: nothing can be appended
    again, messages = end(137)
    assert not again
    assert f"'{end.folder}/restarts' cannot be written" in messages
    assert end.comment.endswith(f"'{end.folder}/restarts' cannot be written")
    assert end(75)[0]  # preemptions are not counted


@pytest.mark.parametrize("state", ["COMPLETING", "CANCELLED", "PREEMPTED", "REQUEUED"])
def test_cancelled_job_and_job_requeued_by_slurm_are_left_alone(end, state):
    assert end(75, state=state) == (False, "")
    assert end(137, state=state) == (False, "")
