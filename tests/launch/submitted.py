"""A command that submits slow_idea.py to a real SLURM, and the oracle of all of them: the same run, never stopped."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

IDEA = Path(__file__).with_name("slow_idea.py")
EPOCHS, STEPS = 6, 10
TOTAL = EPOCHS * STEPS
RUN = [
    f"++optim.epochs={EPOCHS}", f"++optim.max_steps={STEPS}", "++optim.batch_size=64", "++optim.warmup_epochs=0",
    "++data.size=16", "++data.num_workers=1", "++hardware.num_threads=1", "++log.report=false", "++log.knn_samples=0",
    "++log.every_steps=1", "++log.eval_every=2", "++log.checkpoint_every=0", "++log.checkpoint_every_steps=25",
]  # fmt: skip


class Submitted:
    """A command that submits, and waits for what it has submitted.

    Parameters
    ----------
    cluster : SlurmCluster
        Where.
    folder : Path
        ``log.folder``. What the command says is beside it: ``errors``.
    arguments, environment
        More of the command, and for it.
    """

    def __init__(self, cluster, folder, *arguments, **environment):
        self.cluster, self.folder = cluster, folder
        folder.mkdir(exist_ok=True)
        self.errors = folder.with_name(f"{folder.name}.errors")
        with open(self.errors, "w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, IDEA, f"++log.folder={folder}", *RUN, "hydra/launcher=submitit_slurm", *arguments],
                env={**os.environ, "OMP_NUM_THREADS": "1", **environment}, stdout=errors, stderr=errors, cwd=folder.parent,
            )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        """Wait for the command; end it, and its jobs, if the test has failed."""
        if kind is not None:
            subprocess.run(["scancel", *{path.name for path in self.folder.glob(".submitit/[0-9]*")}])
            self.process.terminate()
        self.process.wait(timeout=300)

    def run(self, part=""):
        """Return the only run, or the one whose name has a part."""
        [found] = [path.parent for path in self.folder.glob("*/config.yaml") if part in path.parent.name]
        return found

    def jobs(self):
        """Return the numbers of the jobs in this folder, as they were submitted."""
        return sorted((path.name for path in self.folder.glob(".submitit/[0-9]*") if path.is_dir()), key=int)

    def job(self, element=""):
        [found] = [path.name for path in self.folder.glob(f".submitit/*{element}") if path.is_dir()]
        return found

    def steps(self, part=""):
        """Return the steps that rank 0 of a run has made, in all attempts."""
        return [int(line) for line in (self.run(part) / "steps_0").read_text().split()]

    def state(self, step, part=""):
        """Return what the checkpoint of a step holds."""
        return torch.load(self.run(part) / "checkpoints" / f"step_{step:08d}.pt", weights_only=True)

    def until_held(self, step, ranks=1):
        """Wait until a run waits in a step for somebody to stop it."""
        self.until(lambda: len(list(self.folder.glob(f"*/held_{step}_*"))) >= ranks)

    def until_submitted(self):
        """Wait until SLURM has taken the job."""
        self.until(lambda: "submitted job" in self.errors.read_text())

    def until(self, condition):
        """Wait, while the command does."""
        end = time.monotonic() + 250
        while not condition():
            assert self.process.poll() is None, self.errors.read_text()
            assert time.monotonic() < end, self.log()
            time.sleep(0.1)

    def go_on(self, step):
        """Let a run that waits in a step go on."""
        for held in self.folder.glob(f"*/held_{step}_*"):
            held.rename(held.with_name(f"passed{held.name}"))

    def accounted(self, job):
        """Return the job's state and exit code."""
        said = self.cluster.settled("sacct", "-X", "-n", "-P", "-j", job, "-o", "State,ExitCode")
        return said.splitlines()[0].split("|")

    def summary(self, part=""):
        return json.loads((self.run(part) / "summary.json").read_text())

    def log(self, job=""):
        return "\n".join(path.read_text() for path in sorted(self.folder.glob(f".submitit/*{job}/*_log.*")))


def never_stopped(folder, ranks):
    """The oracle: the same script in a step of SLURM's that nobody stops."""
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
