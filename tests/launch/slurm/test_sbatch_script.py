"""Which ends of a job let it come back: the shell itself, with ``squeue`` and ``scontrol`` that only write down who asked."""

import subprocess
import time

import pytest

from ssl_launch.slurm import sbatch_script


@pytest.fixture
def end(tmp_path):
    """Return a function that ends a job with an exit code, and gives whether it was queued again, and what was said.

    Its attributes: the folders of the job and of its checkpoints, and the sentence that is left with SLURM.
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
        all_ = ["elsewhere", str(run.checkpoints)] if checkpoints else []
        before = sbatch_script.before(
            f"{tmp_path}/it's %j", all_, signal_delay_s=120, max_num_timeout=2, max_num_crashes=1
        )
        after = sbatch_script.after(timeout_min=60, signal_delay_s=120)
        script = "\n".join([*before, f"SECONDS={seconds}; {during}; (exit {code})", *after])
        environment = {
            "PATH": f"{tmp_path}:/usr/bin:/bin", "STATE": state, "LEFT": left, "SLURM_JOB_ID": "7",  # that of the array
            "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1",
        }  # fmt: skip
        result = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=30)
        assert result.returncode == code
        calls = asked.read_text().splitlines() if asked.exists() else []
        run.left_with_slurm = "".join(each for each in calls if each.startswith("Comment="))
        assert calls in ([], ["requeue", "7_1"], ["update", "JobId=7_1", run.left_with_slurm])
        return "requeue" in calls, result.stderr

    run.folder, run.checkpoints = tmp_path / "it's 7_1", tmp_path / "its checkpoints"
    return run


def new_checkpoint(end, step):
    """Return a line of shell that writes one."""
    return f"touch '{end.checkpoints}/step_{step:08d}.pt'"


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
    assert [end(75, seconds=3421, during=new_checkpoint(end, n))[0] for n in range(3)] == [True, True, False]
    assert "it is given up: timeout 3 times, hydra.launcher.max_num_timeout=2" in end.left_with_slurm
    assert [end(137)[0] for _ in range(2)] == [True, False]
    assert "given up: killed 2 times, hydra.launcher.max_num_crashes=1" in end(137)[1]
    assert end.left_with_slurm.startswith("Comment=ssl-launch, exit code 1: it is given up: killed 2 times, ")
    assert end(75)[0]


def test_a_job_that_twice_in_a_row_comes_no_further_in_its_time_is_given_up(end):
    further = new_checkpoint(end, 1)
    assert end(75, seconds=3600) == (
        True, "ssl-launch: job 7_1 is queued again: timeout without a newer checkpoint, 1 times by now\n"
    )  # fmt: skip
    assert end(75)[0]  # an eviction between them
    assert end(75, seconds=3600)[0]
    again, said = end(75, seconds=3600)
    assert not again
    assert "given up: timeout without a newer checkpoint, twice in a row; it needs more time (hydra.launcher" in said
    assert "timeout without a newer checkpoint, twice in a row" in end.left_with_slurm
    (end.folder / "restarts").unlink()
    assert end(75, seconds=3600)[0]
    assert end(75, seconds=3600, during=further)[0]
    assert not end(75, seconds=3600)[0]  # that was all it may: max_num_timeout
    (end.folder / "restarts").unlink()
    assert [end(75, seconds=3600, checkpoints=False)[0] for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize(("left", "again"), [("0:20", True), ("0:05", True), ("-0:10", True), ("1:00", False)])
def test_a_job_whose_time_runs_out_on_a_step_is_queued_again_before_slurm_ends_it(end, left, again):
    """20 seconds before. What becomes of the step, which SLURM kills, is not decided again: see the next test."""
    began = time.monotonic()
    found, said = end(0, left=left, during="sleep 0.5")
    assert found is again
    assert ("is queued again: timeout without a newer checkpoint" in said) is again
    assert time.monotonic() - began < 10  # whoever watches ends with the job


@pytest.mark.parametrize(
    ("left", "seconds"),
    [("0:45", 25), ("10:00", 580), ("10:21", 600), ("2:00:00", 600), ("3-00:00:00", 600), ("INVALID", 60), ("", 60)],
)
def test_the_time_that_is_left_is_read_as_slurm_writes_it(end, tmp_path, left, seconds):
    (tmp_path / "sleep").write_text(f"#!/bin/sh\necho $1 >> {tmp_path}/slept\nexec /usr/bin/sleep 1\n")
    (tmp_path / "sleep").chmod(0o755)
    assert end(0, left=left, during="/usr/bin/sleep 0.5") == (False, "")
    assert (tmp_path / "slept").read_text().split() == [str(seconds)]


def test_where_the_disk_takes_no_count_of_the_returns_a_killed_job_does_not_come_back_for_ever(end):
    end.folder.mkdir()
    (end.folder / "restarts").mkdir()  # which no line can be added to, by nobody
    again, said = end(137)
    assert not again
    assert "and how often cannot be written to" in said
    assert end.left_with_slurm.endswith(f"and how often cannot be written to '{end.folder}/restarts'")
    assert end(75)[0]  # an eviction never counts


def test_a_job_that_was_cancelled_stays_so_and_one_that_slurm_requeues_is_left_to_it(end):
    for state in ("COMPLETING", "CANCELLED", "PREEMPTED", "REQUEUED"):
        assert end(75, state=state) == (False, "")
        assert end(137, state=state) == (False, "")
