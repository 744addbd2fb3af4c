"""What SLURM, or we before it, refuse: one line that says why, and neither a job nor a run is left."""

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
def refused(slurm, tmp_path, monkeypatch, capsys):
    """Return a function that gives a whole command line to ``main.py``, in this process, and returns code and last line."""
    out, names = tmp_path / "out", []

    def run(*arguments, folder=out):
        name = f"{tmp_path.name}-{len(names)}"
        names.append(name)
        submit = [*SUBMIT, f"hydra.launcher.name={name}"]
        monkeypatch.setattr(sys, "argv", [str(RUNS / "main.py"), f"++log.folder={folder}", *submit, *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            launch()
        said = capsys.readouterr().err.splitlines()
        # one that sbatch has refused is listed as failed
        listed = ["squeue", "-h", "-t", "pending,running,cancelled,completing,completed", "-o", "%A", "-n", name]
        run.jobs = subprocess.run(listed, capture_output=True, text=True).stdout.split()
        assert not list(out.glob("*/summary.json"))  # no run, half made
        return ended.value.code, said[-1]

    return run


REFUSED = [
    (["hydra.launcher.partition=gpu-hi"], "SLURM refused the job: invalid partition specified: gpu-hi"),
    (
        ["hydra.launcher.gpus_per_task=99"],
        "SLURM refused the job: Batch job submission failed: Requested node configuration",
    ),
    (["hydra.launcher.mem_gb=9000"], "SLURM refused the job: Memory specification can not be satisfied"),
]


@pytest.mark.parametrize(("arguments", "line"), REFUSED)
def test_a_job_that_slurm_refuses_is_its_own_words_in_one_line(refused, arguments, line):
    code, said = refused(*arguments)
    assert code == 1
    assert said.startswith(line)
    assert refused.jobs == []


def test_a_job_that_slurm_takes_and_will_never_begin_is_cancelled(refused, slurm):
    code, said = refused("hydra.launcher.cpus_per_task=99")
    [job] = refused.jobs
    assert (code, said) == (1, f"SLURM will never begin job {job}: pending (PartitionConfig); it was cancelled")
    assert slurm.settled("sacct", "-X", "-n", "-P", "-j", job, "-o", "State").startswith("CANCELLED")


@pytest.mark.parametrize("there", [[], ["srun"]])
def test_where_there_is_no_slurm_nothing_runs_here_instead(refused, tmp_path, monkeypatch, there):
    (tmp_path / "bin").mkdir()
    for name in (*there, "squeue"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    code, said = refused()
    assert code == 2
    assert said.startswith(
        f"hydra/launcher=submitit_slurm: there is no {'sbatch' if there else 'srun'} here; submit where"
    )


def test_a_launcher_never_acts_on_the_machine_it_should_submit_from(refused):
    code, said = refused("hydra.mode=RUN")
    assert (code, said) == (
        2, "hydra/launcher=submitit_slurm: it submits, and hydra.mode=RUN does not; leave one of them out"
    )  # fmt: skip


def test_what_is_wrong_in_one_member_is_said_before_any_of_them_is_submitted(refused):
    code, said = refused("-m", "++optim.warmup_epochs=0,99")
    assert (code, said.partition(" is longer")[0]) == (2, "optim.warmup_epochs=99.0")
    code, said = refused("-m", "++optim.lr=1,2", "++log.run=mine")
    assert code == 2
    assert "two members of the sweep would be in one folder" in said
    assert refused.jobs == []


@pytest.mark.parametrize("folder", ["/proc/nothing", "/sys/nothing"])
def test_a_folder_that_cannot_be_written_is_said_before_anything_is_submitted(refused, folder):
    code, said = refused(folder=folder)
    assert code == 2
    assert said.startswith(f"log.folder: nothing can be written to '{folder}': ")
    assert refused.jobs == []


def test_a_controller_that_does_not_answer_is_one_line(refused, slurm, tmp_path, monkeypatch):
    conf = tmp_path / "slurm.conf"  # of a cluster whose controller is not there
    conf.write_text(re.sub(r"SlurmctldPort=.*", "SlurmctldPort=1", slurm.conf.read_text()))
    monkeypatch.setenv("SLURM_CONF", str(conf))
    code, said = refused()
    assert code == 1
    assert said.startswith("SLURM refused the job: Batch job submission failed: Unable to contact slurm controller")


def test_ctrl_c_leaves_the_jobs_and_says_how_to_end_them(refused, monkeypatch):
    monkeypatch.setattr("ssl_launch.slurm.submit.SlurmJobs._queue", interrupt)
    code, said = refused("hydra.launcher.timeout_min=60")
    [job] = refused.jobs
    subprocess.run(["scancel", job], check=True)
    assert code == 130
    assert said.startswith(f"interrupted: job {job} goes on in SLURM; its output is in ")
    assert said.endswith(f"/.submitit/{job}; scancel {job} ends it")


def interrupt(_):
    raise KeyboardInterrupt
