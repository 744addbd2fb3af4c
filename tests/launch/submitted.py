"""A command that submits slow_idea.py to a real SLURM, and the oracle: the same run without interruption."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import torch
import yaml

import forked

IDEA = Path(__file__).with_name("slow_idea.py")
EPOCHS, STEPS = 6, 10
TOTAL = EPOCHS * STEPS
RUN = [
    f"++optim.epochs={EPOCHS}", f"++optim.max_steps={STEPS}", "++optim.batch_size=64", "++optim.warmup_epochs=0",
    "++data.size=16", "++data.num_workers=1", "++hardware.num_threads=1", "++log.report=false", "++log.knn_samples=0",
    "++log.every_steps=1", "++log.eval_every=2", "++log.checkpoint_every=0", "++log.checkpoint_every_steps=25",
]  # fmt: skip


class Submitted:
    """A command that submits and waits.

    Parameters
    ----------
    cluster : SlurmCluster
        The cluster.
    folder : Path
        ``log.folder``. The output of the command is in ``errors``, next to it.
    arguments, environment
        Further arguments and environment variables of the command.
    """

    def __init__(self, cluster, folder, *arguments, **environment):
        self.cluster, self.folder = cluster, folder
        folder.mkdir(exist_ok=True)
        self.errors = folder.with_name(f"{folder.name}.errors")
        self.errors.write_text("")
        words = [IDEA, f"++log.folder={folder}", *RUN, "hydra/launcher=submitit_slurm", *arguments]
        self.process = forked.Forked(words, folder.parent, self.errors, self.errors, **environment)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        """Wait for the command. If the test has failed, end it and its jobs."""
        if kind is not None:
            subprocess.run(["scancel", *{path.name for path in self.folder.glob(".submitit/[0-9]*")}])
            self.process.terminate()
        self.process.wait(timeout=300)

    def run(self, seed=0):
        """Return the run folder of a seed."""
        configs = {path.parent: yaml.safe_load(path.read_text()) for path in self.folder.glob("*/config.yaml")}
        [found] = [folder for folder, config in configs.items() if config["hardware"]["seed"] == seed]
        return found

    def jobs(self):
        """Return the numbers of the jobs in this folder, in the order of submission."""
        return sorted((path.name for path in self.folder.glob(".submitit/[0-9]*") if path.is_dir()), key=int)

    def job(self, element=""):
        [found] = [path.name for path in self.folder.glob(f".submitit/*{element}") if path.is_dir()]
        return found

    def steps(self, seed=0):
        """Return the steps of rank 0 of a run, over all restarts."""
        return [int(line) for line in (self.run(seed) / "steps_0").read_text().split()]

    def state(self, step, seed=0):
        """Return the checkpoint of a step."""
        return torch.load(self.run(seed) / "checkpoints" / f"step_{step:08d}.pt", weights_only=True)

    def until_held(self, step, ranks=1):
        """Wait until a run waits in a step."""
        self.until(lambda: len(list(self.folder.glob(f"*/held_{step}_*"))) >= ranks)

    def until_submitted(self):
        """Wait until SLURM has taken the job."""
        self.until(lambda: "submitted job" in self.errors.read_text())

    def until(self, condition):
        """Wait for a condition while the command runs."""
        end = time.monotonic() + 250
        while not condition():
            assert self.process.poll() is None, self.errors.read_text()
            assert time.monotonic() < end, self.log()
            time.sleep(0.1)

    def release(self, step):
        """Let a run that waits in a step continue."""
        for held in self.folder.glob(f"*/held_{step}_*"):
            held.rename(held.with_name(f"passed{held.name}"))

    def accounted(self, job):
        """Return the job's state and exit code."""
        said = self.cluster.settled("sacct", "-X", "-n", "-P", "-j", job, "-o", "State,ExitCode")
        return said.splitlines()[0].split("|")

    def summary(self, seed=0):
        return json.loads((self.run(seed) / "summary.json").read_text())

    def log(self, job=""):
        return "\n".join(path.read_text() for path in sorted(self.folder.glob(f".submitit/*{job}/*_log.*")))


def sync_wandb(run, server):
    """Upload a run folder with the command of CLUSTER.rst."""
    page = Path(__file__).parents[2] / "packages" / "ssl-launch" / "CLUSTER.rst"
    program = re.search(r"^ +(\S+) sync-wandb ", page.read_text(), re.MULTILINE)[1]
    command = [Path(sys.executable).with_name(program), "sync-wandb", run]
    subprocess.run(command, env={**os.environ, **server.environment}, check=True, timeout=250)


def uninterrupted(folder, ranks):
    """Return the final state of the same script in a SLURM step without interruption."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = ["srun", f"--ntasks={ranks}", sys.executable, IDEA, f"++log.folder={folder}", *RUN]
    subprocess.run(command, check=True, env=environment, timeout=250, capture_output=True)
    [state] = folder.glob(f"*/checkpoints/step_{TOTAL:08d}.pt")
    return torch.load(state, weights_only=True)


def assert_equal(found, expected, place=""):
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), place
        for key in expected:
            assert_equal(found[key], expected[key], f"{place}/{key}")
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), place
        for number, each in enumerate(expected):
            assert_equal(found[number], each, f"{place}/{number}")
    elif isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected), place
    elif not place.endswith(("images_per_second", "/logger/bytes")):  # these depend on the clock
        assert found == expected, place
