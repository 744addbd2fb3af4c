"""The command lines of the README on a real SLURM: what it was asked for, and that it, and nobody else, has run it."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

RUNS = Path(__file__).parents[2] / "runs"
QUICK = [
    "++optim.warmup_epochs=0", "++optim.max_steps=1", "++optim.batch_size=32", "++data.size=16", "++model.backbone=resnet9",
    "++model.backbone_options={width: 4}", "++model.projector=[16, 8]", "++hardware.num_threads=1", "++data.num_workers=1",
    "++log.report=false", "++log.knn_samples=0",
]  # fmt: skip
FAKE = ["++data.dataset=FakeData", "++data.views=simclr", "++data.fraction=0.2"]
COMMANDS = {
    "launcher": ["hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=3", "++optim.epochs=1"],
    "sweep": ["hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=3", "-m", "++optim.lr=0.1,0.2", "++optim.epochs=1"],
    "all": [
        "--config-name=simclr_cifar10_sgd", "++optim.epochs=4", "++optim.lr=1", "hydra/launcher=submitit_slurm",
        "hydra.launcher.timeout_min=1800", "hydra.launcher.cpus_per_task=4", "hydra.launcher.gpus_per_task=1",
        "hydra.launcher.partition=gpu-he", *FAKE,
    ],
    "file": ["--config-name=slurm_simclr_cifar10", "hydra.launcher.partition=preemptible", "++optim.epochs=1", *FAKE],
}  # fmt: skip


@pytest.fixture(scope="module")
def ran(slurm, tmp_path_factory):
    """Return a function that gives what came of a command: its result and its folder. All of them ran side by side."""
    base = tmp_path_factory.mktemp("commands")

    def run(name):
        return subprocess.run(
            [sys.executable, "main.py", f"++log.folder={base / name}", *QUICK, *COMMANDS[name]],
            cwd=RUNS, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=250,
        )  # fmt: skip

    with ThreadPoolExecutor(len(COMMANDS)) as pool:
        results = dict(zip(COMMANDS, pool.map(run, COMMANDS)))

    def came_of(name):
        assert results[name].returncode == 0, results[name].stderr
        return base / name

    return came_of


def summaries(folder):
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*/summary.json"))]


def accounted(slurm, folder, *fields):
    """Return what SLURM's accounting says of the jobs of a folder, one list a job (or element of an array)."""
    jobs = ",".join({path.name.partition("_")[0] for path in (folder / ".submitit").iterdir() if path.is_dir()})
    said = slurm.settled("sacct", "-X", "-n", "-P", "-j", jobs, "-o", ",".join(["JobID", "State", *fields]))
    return sorted(line.split("|") for line in said.splitlines())


def test_a_launcher_on_the_command_line_submits_without_m(slurm, ran):
    folder = ran("launcher")
    [(job, state, limit)] = accounted(slurm, folder, "Timelimit")
    assert (state, limit) == ("COMPLETED", "00:03:00")
    [summary] = summaries(folder)
    assert summary["status"] == "finished"
    assert (summary["slurm"]["job"], summary["slurm"]["restarts"]) == (job, 0)


def test_a_sweep_is_an_array_and_m_may_stand_in_the_middle(slurm, ran):
    folder = ran("sweep")
    jobs = accounted(slurm, folder)
    assert [state for _, state in jobs] == ["COMPLETED"] * 2
    assert len({job.partition("_")[0] for job, _ in jobs}) == 1
    assert [summary["slurm"]["job"] for summary in summaries(folder)] == [job for job, _ in jobs]


def test_time_processors_gpus_and_partition_are_what_slurm_is_asked_for(slurm, ran):
    folder = ran("all")
    [(_, state, *asked, resources)] = accounted(slurm, folder, "Partition", "Timelimit", "AllocCPUS", "ReqTRES")
    assert (state, asked) == ("COMPLETED", ["gpu-he", "1-06:00:00", "4"])
    assert "gres/gpu=1" in resources
    [summary] = summaries(folder)
    assert summary["epoch"] == 4
    assert summary["command"].split()[1] == "main.py"  # what was typed, not submitit's
    assert {f"++log.folder={folder}", QUICK[0]} <= set(summary["command"].split())


def test_a_launcher_named_in_a_file_submits_with_what_the_file_asks_for(slurm, ran):
    [(_, state, *asked, resources)] = accounted(slurm, ran("file"), "Partition", "Timelimit", "AllocCPUS", "ReqTRES")
    assert (state, asked) == ("COMPLETED", ["preemptible", "1-00:00:00", "4"])
    assert "mem=32G" in resources
