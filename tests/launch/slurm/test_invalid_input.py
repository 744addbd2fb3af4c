"""Submissions that SLURM or the launcher rejects: one line with the reason; neither a job nor a run folder is left."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ssl_launch import launch

RUNS = Path(__file__).parents[3] / "runs"
SUBMIT = ["hydra/launcher=submitit_slurm"]


@pytest.fixture
def rejected(slurm, tmp_path, monkeypatch, capsys):
    """Return a function that runs ``main.py`` in this process and returns its exit code and the last line of stderr."""
    out, names = tmp_path / "out", []

    def run(*arguments, folder=out):
        name = f"{tmp_path.name}-{os.getpid()}-{len(names)}"  # a cluster may have jobs of earlier sessions
        names.append(name)
        submit = [*SUBMIT, f"hydra.launcher.name={name}"]
        monkeypatch.setattr(sys, "argv", [str(RUNS / "main.py"), f"++log.folder={folder}", *submit, *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            launch()
        said = capsys.readouterr().err.splitlines()
        # a job that sbatch has rejected is listed as failed
        listed = ["squeue", "-h", "-t", "pending,running,cancelled,completing,completed", "-o", "%A", "-n", name]
        run.jobs = subprocess.run(listed, capture_output=True, text=True).stdout.split()
        assert not list(out.glob("*/summary.json"))  # no incomplete run folder
        return ended.value.code, said[-1]

    return run


REJECTED = [
    (["hydra.launcher.partition=gpu-hi"], "SLURM rejected the job: invalid partition specified: gpu-hi"),
    (
        ["hydra.launcher.gpus_per_task=99"],
        "SLURM rejected the job: Batch job submission failed: Requested node configuration",
    ),
    (["hydra.launcher.mem_gb=9000"], "SLURM rejected the job: Memory specification can not be satisfied"),
]


@pytest.mark.parametrize(("arguments", "line"), REJECTED)
def test_rejected_job_shows_the_message_of_slurm(rejected, arguments, line):
    code, said = rejected(*arguments)
    assert code == 1
    assert said.startswith(line)
    assert rejected.jobs == []


def test_job_that_can_never_start_is_cancelled(rejected, slurm):
    code, said = rejected("hydra.launcher.cpus_per_task=99")
    [job] = rejected.jobs
    assert (code, said) == (1, f"SLURM will never start job {job}: pending (PartitionConfig); it was cancelled")
    assert slurm.settled("sacct", "-X", "-n", "-P", "-j", job, "-o", "State").startswith("CANCELLED")


@pytest.mark.parametrize("there", [[], ["srun"]])
def test_missing_slurm_is_an_error(rejected, tmp_path, monkeypatch, there):
    (tmp_path / "bin").mkdir()
    for name in (*there, "squeue"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    code, said = rejected()
    assert code == 2
    assert said.startswith(f"hydra/launcher=submitit_slurm: {'sbatch' if there else 'srun'} was not found; submit on")


def test_launcher_with_mode_run_is_an_error(rejected):
    code, said = rejected("hydra.mode=RUN")
    assert code == 2
    assert said.startswith("hydra/launcher=")


def test_invalid_run_of_a_sweep_submits_nothing(rejected):
    code, said = rejected("-m", "++optim.warmup_epochs=0,99")
    assert (code, said.partition(":")[0]) == (2, "optim.warmup_epochs=99.0")
    code, said = rejected("-m", "++optim.lr=1,2", "++log.run=mine")
    assert code == 2
    assert "two runs of the sweep have the same folder" in said
    assert rejected.jobs == []


@pytest.mark.parametrize("folder", ["/proc/nothing", "/sys/nothing"])
def test_unwritable_folder_submits_nothing(rejected, folder):
    code, said = rejected(folder=folder)
    assert code == 2
    assert said.startswith("log.folder: ")
    assert f"'{folder}'" in said
    assert rejected.jobs == []


def test_unreachable_controller_is_one_line(rejected, slurm, tmp_path, monkeypatch):
    conf = tmp_path / "slurm.conf"  # of a cluster without a controller
    text = re.sub("SlurmctldPort=.*", "SlurmctldPort=1", slurm.conf.read_text())
    conf.write_text(re.sub("MessageTimeout=.*", "MessageTimeout=2", text))  # seconds of retries
    monkeypatch.setenv("SLURM_CONF", str(conf))
    code, said = rejected()
    assert code == 1
    assert said.startswith("SLURM rejected the job: Batch job submission failed: Unable to contact slurm controller")


def test_ctrl_c_keeps_the_job_and_shows_how_to_cancel_it(rejected, monkeypatch):
    monkeypatch.setattr("ssl_launch.slurm.submit.SlurmJobs._queue", interrupt)
    code, said = rejected("hydra.launcher.timeout_min=60")
    [job] = rejected.jobs
    subprocess.run(["scancel", job], check=True)
    assert code == 130
    assert said.startswith(f"interrupted: job {job} continues in SLURM; output: ")
    assert said.endswith(f"/.submitit/{job}; to cancel: scancel {job}")


def interrupt(_):
    raise KeyboardInterrupt
