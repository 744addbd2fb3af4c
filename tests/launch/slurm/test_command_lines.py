"""The command lines of docs/command_line.rst and of CLUSTER.rst on a real SLURM.

Each block runs unchanged, with overrides at its end that make it small. The cluster has one node: ``nodes=2`` becomes 1.
"""

import json
import os
import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import forked
from code_blocks import code_blocks

ROOT = Path(__file__).parents[3]
RUNS = ROOT / "runs"
QUICK = [
    "++optim.warmup_epochs=0", "++optim.max_steps=2", "++optim.batch_size=32", "++data.size=16", "++model.backbone=resnet9",
    "++model.backbone_options={width: 4}", "++model.projector=[16, 8]", "++hardware.num_threads=1", "++data.num_workers=1",
    "++log.report=false", "++log.knn_samples=0",
]  # fmt: skip
SHORT = ["++optim.epochs=1"]
FAKE = ["++data.dataset=FakeData", "++data.views=simclr", "++data.fraction=0.2"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def blocks():
    """Return the code blocks of the page by heading, with continuation lines joined."""
    found, heading = {}, ""
    page = (ROOT / "packages" / "ssl-launch" / "CLUSTER.rst").read_text()
    for part in re.split(r"\n(?=[^\n]+\n-+\n)", page):
        heading = part.splitlines()[0]
        for block in code_blocks(part, "bash"):
            found.setdefault(heading, []).append(block.strip().replace("\\\n", " "))
    return found


PAGE = blocks()
SUBMIT, FILE = PAGE["Submit"]
[SWEEP] = PAGE["Sweeps"]
EVALUATE, EVAL = PAGE["Evaluate after training"]
TASKS, SRUN, TORCHRUN = PAGE["Several GPUs, several nodes"]
[OFFLINE] = PAGE["wandb without a network"]
README = "python3 main.py hydra/launcher=submitit_slurm hydra.launcher.timeout_min=3"
COMMANDS = {  # name -> line, overrides that make it small
    "submit": (SUBMIT, FAKE),
    "file": (FILE, [*SHORT, *FAKE]),
    "sweep": (SWEEP, SHORT),
    "evaluate": (EVALUATE, ["++optim.epochs=2", "-m", "++optim.lr=0.002,1e30"]),  # one of the two diverges
    "tasks": (TASKS, SHORT),
}


def test_all_blocks_of_the_page_are_tested():
    assert sum(map(len, PAGE.values())) == 9
    assert README in (ROOT / "docs" / "command_line.rst").read_text()
    assert OFFLINE.startswith(README)


class Ran:
    """A command after its end."""

    def __init__(self, cluster, folder, result):
        self.cluster, self.folder, self.result = cluster, folder, result

    def summaries(self):
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("*/summary.json"))]

    def accounted(self, *fields):
        """Return name, state and fields of each job or array element from SLURM's accounting."""
        jobs = {path.name.partition("_")[0] for path in (self.folder / ".submitit").glob("[0-9]*")}
        wanted = ",".join(["JobName", "State", *fields])
        said = self.cluster.settled("sacct", "-X", "-n", "-P", "-j", ",".join(jobs), "-o", wanted)
        return sorted(line.split("|") for line in said.splitlines())


def execute(line, folder, arguments=QUICK, **environment):
    """Run a line of the page in ``runs/``, with ``folder`` in place of ``outputs``."""
    command = line.replace("nodes=2", "nodes=1").replace("outputs/", f"{folder}/")
    if command.startswith("sbatch"):
        environment = {**os.environ, "PATH": f"{forked.PROGRAM.parent}:{os.environ['PATH']}", **environment}
        return subprocess.run([*command.split(), *arguments], cwd=RUNS, capture_output=True, text=True, env=environment)
    words = shlex.split(command)
    if words[:2] == ["python3", "main.py"]:
        arguments = [*arguments, f"++log.folder={folder}"]
    return forked.run([*words[words[0] == "python3" :], *arguments], RUNS, timeout=400, **environment)


def submit(script, folder, part):
    """Submit a script of the page and wait for its end."""
    folder.mkdir()
    quick = " ".join(f"'{each}'" for each in [*QUICK, *SHORT, f"++log.folder={folder}"])
    file = folder / "script.sh"
    file.write_text(script.replace("--nodes=2", "--nodes=1").replace("log.run=mine", f"log.run={part} {quick}"))
    return execute("sbatch --wait", folder, [f"--output={folder}/log", str(file)])


def unseen(folder, server):
    """Train offline, then upload."""
    train, sync = OFFLINE.splitlines()
    environment = {**server.environment, "HOME": str(folder)}
    trained = execute(train, folder, [*QUICK, *SHORT], **environment)
    return execute(sync, folder, [], **environment) if trained.returncode == 0 else trained


@pytest.fixture(scope="module")
def ran(slurm, wandb_server, tmp_path_factory):
    """Return a function that returns a command after its end. The commands run side by side, three at a time."""
    base = tmp_path_factory.mktemp("commands")
    with ThreadPoolExecutor(3) as pool:
        going = {
            name: pool.submit(execute, line, base / name, [*QUICK, *more]) for name, (line, more) in COMMANDS.items()
        }
        going["srun"] = pool.submit(submit, SRUN, base / "srun", "mine")
        going["torchrun"] = pool.submit(submit, TORCHRUN, base / "torchrun", "mine")
        going["unseen"] = pool.submit(unseen, base / "unseen", wandb_server)
    return lambda name: Ran(slurm, base / name, going[name].result())


def assert_trained(came, epochs=1, ranks=1):
    assert came.result.returncode == 0, came.result.stdout + came.result.stderr
    [summary] = came.summaries()
    assert (summary["status"], summary["epoch"], summary["ranks"]) == ("finished", epochs, ranks)
    return summary


def test_named_launcher_submits_without_m(ran):
    came = ran("unseen")
    summary = assert_trained(came)
    [(name, state, job, limit)] = came.accounted("JobID", "Timelimit")
    assert (name, state, limit) == ("main", "COMPLETED", "00:03:00")
    assert (summary["slurm"]["job"], summary["slurm"]["restarts"]) == (job, 0)
    assert summary["command"].split()[1:4] == [
        "main.py",
        "hydra/launcher=submitit_slurm",
        "hydra.launcher.timeout_min=3",
    ]


def test_launcher_options_reach_slurm(slurm, ran):
    if not slurm.has_gpus:
        pytest.skip("fake GPU devices cannot be created here")
    came = ran("submit")
    assert_trained(came, epochs=4)
    [(_, state, *asked, resources)] = came.accounted("Partition", "Timelimit", "AllocCPUS", "ReqTRES")
    assert (state, asked) == ("COMPLETED", ["gpu-he", "1-06:00:00", "4"])
    assert "gres/gpu=1" in resources


def test_launcher_options_in_a_file_reach_slurm(slurm, ran):
    if not slurm.has_gpus:
        pytest.skip("fake GPU devices cannot be created here")
    came = ran("file")
    assert_trained(came)
    [(_, state, *asked, resources)] = came.accounted("Partition", "Timelimit", "AllocCPUS", "ReqTRES")
    assert (state, asked) == ("COMPLETED", ["preemptible", "1-00:00:00", "4"])
    assert "mem=32G" in resources


def test_sweep_is_a_job_array(ran):
    came = ran("sweep")
    assert came.result.returncode == 0, came.result.stderr
    jobs = came.accounted("JobID")
    assert [state for _, state, _ in jobs] == ["COMPLETED"] * 2
    assert len({job.partition("_")[0] for _, _, job in jobs}) == 1
    assert sorted(summary["slurm"]["job"] for summary in came.summaries()) == [job for _, _, job in jobs]


def test_evaluations_follow_the_training(ran):
    """One of the two runs diverges: its evaluations never start, and the report is written all the same."""
    came = ran("evaluate")
    assert came.result.returncode == 4, came.result.stderr
    assert "loss is nan at epoch 1, batch 1" in came.result.stderr.splitlines()[-1]
    summaries = {path.parent: json.loads(path.read_text()) for path in came.folder.glob("*/summary.json")}
    good, bad = sorted(summaries, key=lambda folder: summaries[folder]["status"], reverse=True)
    assert [summaries[each]["status"] for each in (good, bad)] == ["finished", "failed"]
    assert sorted(path.name for path in (good / "eval").glob("*.json")) == ["standard.json", "standard_step_2.json"]
    assert sorted(summaries[good]["evaluations"]) == ["standard", "standard_step_2"]
    assert not (bad / "eval").exists()
    jobs = {"main": [], "evaluate": [], "report": []}
    for name, state, start, end in came.accounted("Start", "End"):
        jobs[name].append((state.partition(" ")[0], start, end))
    assert [state for state, _, _ in jobs["main"]] == ["COMPLETED", "FAILED"]
    begun = [start for state, start, _ in jobs["evaluate"] if state == "COMPLETED"]
    assert len(begun) == 2
    assert min(begun) >= jobs["main"][0][2]  # when the training had ended
    assert {state for state, _, _ in jobs["evaluate"]} == {"COMPLETED", "CANCELLED"}
    assert [state for state, _, _ in jobs["report"]] == ["COMPLETED"]
    page = (came.folder / "report" / "index.html").read_text()
    assert "Evaluated offline: standard" in page


@pytest.mark.parametrize("name", ["tasks", "srun", "torchrun"])
def test_tasks_are_ranks(ran, name):
    assert_trained(ran(name), ranks=2)


def test_checkpoints_of_an_existing_run_are_evaluated_by_jobs(ran):
    came = ran("srun")
    result = execute(EVAL, came.folder, [f"hydra.launcher.submitit_folder={came.folder}/.submitit/%j"])
    assert result.returncode == 0, result.stderr
    assert (came.folder / "mine" / "eval" / "standard.json").exists()
    assert [state for _, state in came.accounted()] == ["COMPLETED"]


def test_offline_run_is_uploaded_afterwards(ran, wandb_server):
    came = ran("unseen")
    assert came.result.returncode == 0, came.result.stderr
    metrics = (came.folder / "unseen" / "metrics.jsonl").read_text().splitlines()
    assert wandb_server.steps() == [json.loads(line)["step"] for line in metrics]
