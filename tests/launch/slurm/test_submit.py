"""What becomes of submitit's many lines, without a cluster. Oracle: submitit's own sentences."""

import subprocess
from types import SimpleNamespace

import pytest
from submitit.core import core
from submitit.core.utils import FailedJobError, UncompletedJobError

from ssl_launch.slurm import job_comment
from ssl_launch.slurm.errors import JobError
from ssl_launch.slurm.submit import _outcome


@pytest.fixture
def failing(tmp_path):
    """Return a function that makes a job whose results are an error."""

    def make(error):
        def results():
            raise error

        paths = SimpleNamespace(stderr=tmp_path / "the log")
        job = SimpleNamespace(job_id="7_1", results=results, state="FAILED", paths=paths)
        job.task = lambda number: job
        return job

    return make


def submitits_own(tmp_path):
    """Return what submitit raises for a job whose result is a traceback."""

    class Failed(core.Job):
        def wait(self):
            pass

        def _get_outcome_and_result(self):
            return "error", "Traceback (most recent call last):\n  File ...\nKeyError: 'lr'\n"

    return Failed(tmp_path, "7_1").exception()


def test_the_end_of_a_traceback_or_the_missing_result_is_what_is_said(failing, tmp_path):
    error = submitits_own(tmp_path)
    assert isinstance(error, FailedJobError)
    for raised, line in (
        (error, "job 7_1 has failed: KeyError: 'lr'; see {log}"),
        (
            UncompletedJobError(
                "Job 7 (task: 0) with path x\nhas not produced any output (state: TIMEOUT)\nError stream"
            ),
            "job 7_1 has not produced any output (state: TIMEOUT); see {log}",
        ),
        (UncompletedJobError("something else"), "job 7_1 has failed: something else; see {log}"),
        (OSError(30, "Read-only"), "job 7_1 has left no result that can be read (state: FAILED); see {log}"),
    ):
        with pytest.raises(JobError) as caught:
            _outcome(failing(raised)).return_value  # noqa: B018
        assert str(caught.value) == line.format(log=tmp_path / "the log")


def test_what_a_job_has_left_with_slurm_is_said_with_its_exit_code_and_a_comment_of_its_owners_is_not(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    stands = tmp_path / "comment"
    for name, action in {
        "scontrol": f'for each; do case $each in Comment=*) echo "${{each#Comment=}}" > {stands};; esac; done',
        "squeue": f"cat {stands}",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{action}\n")
        (tmp_path / name).chmod(0o755)
    job_comment.write("7_1", "'it's \"full\"'\n$HOME", 74)
    error = job_comment.read("7_1")
    assert (str(error), error.exit_code) == ("job 7_1: 'it's \"full\"' $HOME", 74)
    script = "sentence=worn; " + job_comment.shell_command("7_1", "it is $sentence out")
    subprocess.run(["sh", "-c", script], check=True)
    error = job_comment.read("7_1")
    assert (str(error), error.exit_code) == ("job 7_1: it is worn out", 1)
    for comment in ("", "(null)", "for the paper"):
        stands.write_text(f"{comment}\n")
        assert job_comment.read("7_1") is None


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """Return a function that launches a sweep of six members, of which some have finished; it returns what was submitted."""
    from hydra.core.utils import JobReturn, JobStatus

    from hydra_plugins.ssl_launch_plugin.slurm_launcher import SlurmLauncher
    from ssl_core.config import Config
    from ssl_core.run.folder import plain_config
    from ssl_launch.slurm import submit
    from ssl_launch.sweep.sweep_run import SweepRun

    submitted = []

    class Jobs:
        """SlurmJobs without a cluster: every job that is submitted finishes."""

        def __init__(self, folder, params):
            self.jobs = []

        def submit(self, function, arguments, checkpoints=()):
            submitted.extend(overrides for overrides, *_ in arguments)
            self.jobs = [SimpleNamespace(job_id=f"7_{number}") for number in range(len(arguments))]

        def wait(self):
            return [JobReturn(status=JobStatus.COMPLETED, _return_value=0.5) for _ in self.jobs]

    def member(number, finished):
        config = Config(data=object())
        config.log.folder, config.log.run = str(tmp_path), f"seed={number}"
        run = SweepRun([f"hardware.seed={number}"], config)
        if finished:
            run.folder.create(plain_config(config))
            run.folder.write_summary({"status": "finished", "metrics": {}})
        return run

    def launch(finished):
        members = [member(number, number in finished) for number in range(6)]
        launcher = SlurmLauncher.__new__(SlurmLauncher)
        launcher.evaluate, launcher.params = None, {}
        launcher.config = SimpleNamespace(hydra=SimpleNamespace(sweep=SimpleNamespace(dir=str(tmp_path))))
        launcher.hydra_context = SimpleNamespace(config_loader=None)
        launcher.task_function = None
        monkeypatch.setattr(SlurmLauncher, "_members", lambda self, overrides, first: members)
        monkeypatch.setattr(submit, "SlurmJobs", Jobs)
        submitted.clear()
        returns = launcher.launch([each.overrides for each in members], 0)
        assert [each.status for each in members] == ["finished"] * 6
        assert len(returns) == 6
        return list(submitted)

    return launch


def test_finished_members_of_a_sweep_are_not_submitted_again(sweep, capsys):
    assert sweep(finished=range(6)) == []
    assert "of 6 runs 6 finished before, 0 to do" in capsys.readouterr().out


def test_only_the_rest_of_a_sweep_is_submitted(sweep):
    assert sweep(finished={0, 1, 4}) == [["hardware.seed=2"], ["hardware.seed=3"], ["hardware.seed=5"]]
