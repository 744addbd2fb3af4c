"""Runs that a real SLURM stops and starts again, and how they end.

Oracle: the same run, never stopped. Compared are weights, optimizer, probes and all else that a checkpoint holds, bit by bit.
All runs of this file go side by side, and wait (slow_idea.py) where they are to be stopped.
"""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from submitted import TOTAL, Submitted, assert_equal, never_stopped

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def evicted_and_stopped(slurm, folder, server):
    """Both GPUs are wanted by a partition of higher priority while the run holds one. Back again, it is sent SIGTERM."""
    gpu = ["hydra.launcher.gpus_per_task=1"] * slurm.has_gpus
    environment = {**server.environment, "HOME": str(folder), "SLOW_HOLD": "15 25"}
    with Submitted(
        slurm, folder, "hydra.launcher.partition=preemptible", *gpu, "++log.wandb=online", **environment
    ) as one:
        one.until_held(15)
        if slurm.has_gpus:
            subprocess.run(["srun", "--gpus=2", "true"], check=True, capture_output=True, timeout=250)
        else:
            subprocess.run(["scancel", "--signal=USR2", one.job()], check=True)
        one.until_held(25)
        subprocess.run(["scancel", "--signal=TERM", one.job()], check=True)
    return one


def out_of_time_and_killed(slurm, folder, others):
    """Two ranks whose time passes while they are in a step. Back again, one of them is killed.

    What SLURM gives them is cut to the next full minute but one when they wait for it, and they are told 90 seconds before.
    """
    asked = ["hydra.launcher.tasks_per_node=2", "hydra.launcher.timeout_min=10", "hydra.launcher.signal_delay_s=90"]
    asked += ['+hydra.launcher.srun_args=["--wait=5"]']  # for the rank that is left, and would wait for ever
    with Submitted(slurm, folder, *asked, SLOW_HOLD="15 25") as two:
        two.until_held(15, ranks=2)
        others.set()
        passed = subprocess.run(["squeue", "-h", "-j", two.job(), "-o", "%M"], capture_output=True, text=True).stdout
        limit = int(passed.split(":")[0]) + 2
        subprocess.run(["scontrol", "update", f"JobId={two.job()}", f"TimeLimit={limit}"], check=True)
        while "is queued again" not in two.log():
            assert two.process.poll() is None, two.errors.read_text()
            time.sleep(0.2)
        subprocess.run(["scontrol", "update", f"JobId={two.job()}", "TimeLimit=10"], check=True)
        two.until_held(25, ranks=2)
        said = subprocess.run(["scontrol", "listpids", two.job()], check=True, capture_output=True, text=True).stdout
        os.kill(next(int(line.split()[0]) for line in said.splitlines() if line.split()[4] == "1"), 9)
    return two


def ended(slurm, folder):
    """A sweep of a run that raises, one that diverges, one that is killed each time, and one that its owner cancels."""
    ends = {"SLOW_END": "1=raise 2=diverge 3=kill", "SLOW_HOLD": "8"}
    with Submitted(slurm, folder, "++hardware.seed=1,2,3,4", "hydra.launcher.max_num_crashes=1", **ends) as sweep:
        sweep.until_held(8)
        subprocess.run(["scancel", sweep.job("_3")], check=True)
    return sweep


def late(slurm, folder, others):
    """A sweep of a run in which one step takes longer than its minute, and one that in no minute comes to a checkpoint."""
    ends = {"SLOW_DEAF": "30", "SLOW_END": "2=leave"}
    asked = ["hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=10"]
    with Submitted(slurm, folder, "++hardware.seed=0,2", *asked, **ends) as sweep:
        sweep.until(lambda: list(folder.glob("*/deaf")))
        others.set()
    return sweep


@pytest.fixture(scope="module")
def came_of(slurm, wandb_server, tmp_path_factory):
    """What came of the four commands, and the states of one rank and two that were never stopped."""
    base = tmp_path_factory.mktemp("preemption")
    going = {}
    with ThreadPoolExecutor(4) as pool:
        for name, what in {"late": late, "two": out_of_time_and_killed}.items():
            others = threading.Event()  # they begin when this waits for its time to pass: it has little to begin in
            going[name] = pool.submit(what, slurm, base / name, others)
            going[name].add_done_callback(lambda _, others=others: others.set())
            others.wait()
        going |= {
            "one": pool.submit(evicted_and_stopped, slurm, base / "one", wandb_server),
            "ended": pool.submit(ended, slurm, base / "ended"),
            "one oracle": pool.submit(never_stopped, base / "one oracle", 1),
            "two oracle": pool.submit(never_stopped, base / "two oracle", 2),
        }
    return {name: each.result() for name, each in going.items()}


def assert_went_on(submitted, expected, restarts, part="", element=""):
    """The run has ended in its folder and its job, as the one that was never stopped."""
    job = submitted.job(element)
    assert submitted.accounted(job) == ["COMPLETED", "0:0"], submitted.errors.read_text()
    summary = submitted.summary(part)
    assert (summary["status"], summary["step"]) == ("finished", TOTAL)
    assert summary["slurm"]["job"] == job
    assert restarts(summary["slurm"]["restarts"])
    assert sorted(set(submitted.steps(part))) == list(range(1, TOTAL + 1))
    assert_equal(submitted.state(TOTAL, part), expected)


def test_an_eviction_and_a_signal_save_at_the_step_and_the_job_comes_back_to_its_run(came_of, wandb_server):
    one = came_of["one"]
    assert one.process.returncode == 0
    assert_went_on(one, came_of["one oracle"], lambda restarts: restarts == 2)
    assert one.steps() == list(range(1, TOTAL + 1))  # nothing is computed twice
    assert one.log().count("is queued again: preempted") == 2
    # The upload of the last process ends with its job, which waits for it for a few seconds only; what is missing comes later
    [run] = [path.parent for path in one.folder.glob("*/summary.json")]
    sync = [Path(sys.executable).with_name("ssl-core"), "sync-wandb", run]
    subprocess.run(sync, env={**os.environ, **wandb_server.environment}, check=True, timeout=250)
    assert wandb_server.steps() == list(range(1, TOTAL + 1))  # of the only run there is


def test_two_ranks_survive_a_real_time_limit_and_the_death_of_one_of_them(came_of):
    two = came_of["two"]
    assert two.process.returncode == 0
    assert_went_on(two, came_of["two oracle"], lambda restarts: restarts >= 2)
    assert two.log().count("is queued again: killed") == 1
    # Since the last of the checkpoints every 25 steps, and nothing for the time limit
    assert len(two.steps()) - TOTAL < 25


@pytest.mark.parametrize(("seed", "code", "words"), [(1, 1, "ValueError: a mistake"), (2, 4, "loss is nan at epoch 1")])
def test_a_run_that_fails_by_itself_does_not_come_back_and_accounting_says_so(came_of, seed, code, words):
    sweep = came_of["ended"]
    job = sweep.job(f"_{seed - 1}")
    assert sweep.accounted(job) == ["FAILED", f"{code}:0"]
    summary = sweep.summary(f"seed={seed}")
    assert (summary["status"], summary["slurm"]["restarts"]) == ("failed", 0)
    assert words in summary["error"]
    assert "queued again" not in sweep.log(job)
    assert f"job {job}: " in sweep.errors.read_text()


def test_a_job_that_is_killed_again_and_again_is_given_up(came_of):
    sweep = came_of["ended"]
    assert sweep.accounted(sweep.job("_2"))[0] == "FAILED"
    summary = sweep.summary("seed=3")  # which the run itself could not write any more
    assert summary["status"] == "failed"
    assert "it is given up: killed 2 times, hydra.launcher.max_num_crashes=1" in summary["error"]
    assert sweep.log("_2").count("is queued again: killed") == 1
    assert "is given up: killed 2 times, hydra.launcher.max_num_crashes=1" in sweep.log("_2")


def test_a_step_that_takes_longer_than_the_notice_is_killed_and_the_job_comes_back_from_its_last_checkpoint(came_of):
    sweep = came_of["late"]
    assert_went_on(sweep, came_of["one oracle"], lambda restarts: restarts >= 1, "seed=0", "_0")
    assert "is queued again: timeout, 1 times" in sweep.log("_0")
    steps = sweep.steps("seed=0")
    assert steps[:35] == [*range(1, 31), *range(26, 31)]  # a checkpoint every 25


def test_a_job_that_comes_no_further_in_its_time_is_given_up_and_the_command_says_so(came_of):
    sweep = came_of["late"]
    assert sweep.accounted(sweep.job("_1")) == ["FAILED", "75:0"]
    assert sweep.log("_1").count("is queued again: timeout without a newer checkpoint") == 1
    sentence = (
        f"job {sweep.job('_1')}: it is given up: timeout without a newer checkpoint, twice in a row; it needs more"
    )
    summary = sweep.summary("seed=2")
    assert summary["status"] == "failed"
    assert sentence in summary["error"]
    assert sweep.process.returncode == 1
    assert sentence in sweep.errors.read_text().splitlines()[-1]


def test_a_job_that_its_owner_cancels_stays_so_with_its_state_saved(came_of):
    sweep = came_of["ended"]
    assert sweep.accounted(sweep.job("_3"))[0].startswith("CANCELLED")
    assert sweep.summary("seed=4")["status"] == "preempted"
    assert list((sweep.run("seed=4") / "checkpoints").glob("step_*.pt"))
    assert "queued again" not in sweep.log("_3")


def test_a_sweep_of_which_one_failed_ends_with_its_exit_code_and_a_table_of_all(came_of):
    sweep = came_of["ended"]
    assert sweep.process.returncode == 1
    said = sweep.errors.read_text()
    assert "4 runs: 3 failed, 1 preempted" in said
    for seed in range(1, 5):
        assert f"hardware.seed={seed}" in said.partition("4 runs:")[2]
