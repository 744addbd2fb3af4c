"""Runs that a real SLURM stops and restarts.

Oracle: the same run without interruption. The complete checkpoints are compared bit by bit. All runs of this file run side by
side; those that are to be stopped wait for it at a step (slow_idea.py).
"""

import os
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from submitted import TOTAL, Submitted, assert_equal, sync_wandb, uninterrupted

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def evicted_and_stopped(slurm, folder, server):
    """A job of a partition with higher priority takes the GPU of the run. After its restart the run receives SIGTERM."""
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
    """Two ranks reach their time limit during a step. After the restart, one of them is killed.

    While they wait in the step, their time limit is reduced to one to two minutes from now, with 90 seconds of notice.
    """
    asked = ["hydra.launcher.tasks_per_node=2", "hydra.launcher.timeout_min=10", "hydra.launcher.signal_delay_s=90"]
    asked += ['+hydra.launcher.srun_args=["--wait=5"]']  # seconds until the other rank is killed
    with Submitted(slurm, folder, *asked, SLOW_HOLD="15 25") as two:
        two.until_held(15, ranks=2)
        others.set()
        passed = subprocess.run(["squeue", "-h", "-j", two.job(), "-o", "%M"], capture_output=True, text=True).stdout
        limit = int(passed.split(":")[0]) + 2
        subprocess.run(["scontrol", "update", f"JobId={two.job()}", f"TimeLimit={limit}"], check=True)
        while "is requeued" not in two.log():
            assert two.process.poll() is None, two.errors.read_text()
            time.sleep(0.2)
        subprocess.run(["scontrol", "update", f"JobId={two.job()}", "TimeLimit=10"], check=True)
        two.until_held(25, ranks=2)
        said = subprocess.run(["scontrol", "listpids", two.job()], check=True, capture_output=True, text=True).stdout
        os.kill(next(int(line.split()[0]) for line in said.splitlines() if line.split()[4] == "1"), 9)
    return two


def ended(slurm, folder):
    """A sweep of four runs: an exception, a divergence, a kill at each start, a cancellation by the user."""
    ends = {"SLOW_END": "1=raise 2=diverge 3=kill", "SLOW_HOLD": "8"}
    with Submitted(slurm, folder, "++hardware.seed=1,2,3,4", "hydra.launcher.max_num_crashes=1", **ends) as sweep:
        sweep.until_held(8)
        subprocess.run(["scancel", sweep.job("_3")], check=True)
    return sweep


def late(slurm, folder, others):
    """A sweep of two runs with one minute each: one has a step that takes longer, one never reaches a checkpoint."""
    ends = {"SLOW_DEAF": "30", "SLOW_END": "2=leave"}
    asked = ["hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=10"]
    with Submitted(slurm, folder, "++hardware.seed=0,2", *asked, **ends) as sweep:
        sweep.until(lambda: list(folder.glob("*/deaf")))
        others.set()
    return sweep


@pytest.fixture(scope="module")
def results(slurm, wandb_server, tmp_path_factory):
    """The four commands after their end, and the uninterrupted states of one and of two ranks."""
    base = tmp_path_factory.mktemp("preemption")
    going = {}
    with ThreadPoolExecutor(4) as pool:
        for name, what in {"late": late, "two": out_of_time_and_killed}.items():
            others = threading.Event()  # start when this run waits: it has only one minute
            going[name] = pool.submit(what, slurm, base / name, others)
            going[name].add_done_callback(lambda _, others=others: others.set())
            others.wait()
        going |= {
            "one": pool.submit(evicted_and_stopped, slurm, base / "one", wandb_server),
            "ended": pool.submit(ended, slurm, base / "ended"),
            "one oracle": pool.submit(uninterrupted, base / "one oracle", 1),
            "two oracle": pool.submit(uninterrupted, base / "two oracle", 2),
        }
    return {name: each.result() for name, each in going.items()}


def assert_resumed(submitted, expected, restarts, seed=0, element=""):
    """The run has finished in the same folder and job, with the state of the uninterrupted run."""
    job = submitted.job(element)
    assert submitted.accounted(job) == ["COMPLETED", "0:0"], submitted.errors.read_text()
    summary = submitted.summary(seed)
    assert (summary["status"], summary["step"]) == ("finished", TOTAL)
    assert summary["slurm"]["job"] == job
    assert restarts(summary["slurm"]["restarts"])
    assert sorted(set(submitted.steps(seed))) == list(range(1, TOTAL + 1))
    assert_equal(submitted.state(TOTAL, seed), expected)


def test_preempted_job_resumes_without_repeating_a_step(results, wandb_server):
    one = results["one"]
    assert one.process.returncode == 0
    assert_resumed(one, results["one oracle"], lambda restarts: restarts == 2)
    assert one.steps() == list(range(1, TOTAL + 1))  # no step twice
    assert one.log().count("is requeued: preempted") == 2
    sync_wandb(one.run(), wandb_server)  # a run waits a few seconds for its upload; the rest is uploaded here
    assert wandb_server.steps() == list(range(1, TOTAL + 1))  # of the only wandb run


def test_two_ranks_resume_after_time_limit_and_kill(results):
    two = results["two"]
    assert two.process.returncode == 0
    assert_resumed(two, results["two oracle"], lambda restarts: restarts >= 2)
    assert two.log().count("is requeued: killed") == 1
    # repeated: the steps since the last checkpoint (every 25) after the kill; none after the time limit
    assert len(two.steps()) - TOTAL < 25


@pytest.mark.parametrize(
    ("seed", "code", "words"), [(1, 1, "ValueError: error of the user"), (2, 4, "loss is nan at epoch 1")]
)
def test_failed_run_is_not_requeued(results, seed, code, words):
    sweep = results["ended"]
    job = sweep.job(f"_{seed - 1}")
    assert sweep.accounted(job) == ["FAILED", f"{code}:0"]
    summary = sweep.summary(seed)
    assert (summary["status"], summary["slurm"]["restarts"]) == ("failed", 0)
    assert words in summary["error"]
    assert "is requeued" not in sweep.log(job)
    assert f"job {job}: " in sweep.errors.read_text()


def test_killed_job_is_requeued_max_num_crashes_times(results):
    sweep = results["ended"]
    assert sweep.accounted(sweep.job("_2"))[0] == "FAILED"
    summary = sweep.summary(3)  # written by the command, after the kill
    assert summary["status"] == "failed"
    assert "not requeued: killed 2 times, hydra.launcher.max_num_crashes=1" in summary["error"]
    assert sweep.log("_2").count("is requeued: killed") == 1
    assert "is not requeued: killed 2 times, hydra.launcher.max_num_crashes=1" in sweep.log("_2")


def test_step_longer_than_the_notice_resumes_from_checkpoint(results):
    sweep = results["late"]
    assert_resumed(sweep, results["one oracle"], lambda restarts: restarts >= 1, element="_0")
    assert "is requeued: timeout, restart 1" in sweep.log("_0")
    steps = sweep.steps()
    assert steps[:35] == [*range(1, 31), *range(26, 31)]  # a checkpoint every 25


def test_two_timeouts_without_checkpoint_fail_with_a_message(results):
    sweep = results["late"]
    assert sweep.accounted(sweep.job("_1")) == ["FAILED", "75:0"]
    assert sweep.log("_1").count("is requeued: timeout without a newer checkpoint") == 1
    sentence = f"job {sweep.job('_1')}: not requeued: timeout without a newer checkpoint, twice in a row; increase"
    summary = sweep.summary(2)
    assert summary["status"] == "failed"
    assert sentence in summary["error"]
    assert sweep.process.returncode == 1
    assert sentence in sweep.errors.read_text().splitlines()[-1]


def test_cancelled_job_saves_its_state_and_is_not_requeued(results):
    sweep = results["ended"]
    assert sweep.accounted(sweep.job("_3"))[0].startswith("CANCELLED")
    assert sweep.summary(4)["status"] == "preempted"
    assert list((sweep.run(4) / "checkpoints").glob("step_*.pt"))
    assert "is requeued" not in sweep.log("_3")


def test_sweep_with_failed_runs_prints_a_table(results):
    sweep = results["ended"]
    assert sweep.process.returncode == 1
    said = sweep.errors.read_text()
    assert "4 runs: 3 failed, 1 preempted" in said
    for seed in range(1, 5):
        assert f"hardware.seed={seed}" in said.partition("4 runs:")[2]
