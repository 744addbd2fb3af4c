"""Submission and results without a cluster. Oracle for messages: submitit's own errors."""

import pickle
from types import SimpleNamespace

import pytest
from hydra.core.utils import JobReturn, JobStatus
from submitit.core import core
from submitit.core.utils import FailedJobError, UncompletedJobError

from hydra_plugins.ssl_launch_plugin.slurm_launcher import SlurmLauncher
from ssl_core.config import Config
from ssl_core.run.folder import plain_config
from ssl_launch.slurm import submit
from ssl_launch.slurm.errors import JobError, read_comment, write_comment
from ssl_launch.slurm.submit import SlurmJobs
from ssl_launch.sweep.sweep_run import SweepRun


def submitit_error(tmp_path):
    """Return what submitit raises for a job whose result is a traceback."""

    class Failed(core.Job):
        def wait(self):
            pass

        def _get_outcome_and_result(self):
            return "error", "Traceback (most recent call last):\n  File ...\nKeyError: 'lr'\n"

    error = Failed(tmp_path, "7_1").exception()
    assert isinstance(error, FailedJobError)
    return error


@pytest.mark.parametrize(
    ("make_error", "sentence"),
    [
        (submitit_error, "job 7_1 has failed: KeyError: 'lr'; see "),
        (lambda _: UncompletedJobError("no result"), "job 7_1 has left no result (state: TIMEOUT); see "),
        (lambda _: OSError(30, "Read-only"), "job 7_1 has left no result (state: TIMEOUT); see "),
    ],
)
def test_job_without_a_result_is_one_line(tmp_path, make_error, sentence):
    def results():
        raise make_error(tmp_path)

    job = SimpleNamespace(
        job_id="7_1", results=results, state="TIMEOUT", paths=SimpleNamespace(stderr=tmp_path / "log")
    )
    job.task = lambda number: job
    with pytest.raises(JobError) as caught:
        SlurmJobs("", {})._result(job).return_value  # noqa: B018
    assert str(caught.value) == f"{sentence}{tmp_path / 'log'}"


def test_job_error_keeps_its_exit_code_when_pickled():
    error = pickle.loads(pickle.dumps(JobError("job 7: full", 74)))
    assert (str(error), error.exit_code) == ("job 7: full", 74)


def test_comment_of_a_job_carries_its_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    comment = tmp_path / "comment"
    for name, action in {
        "scontrol": f'for each; do case $each in Comment=*) echo "${{each#Comment=}}" > {comment};; esac; done',
        "squeue": f"cat {comment}",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{action}\n")
        (tmp_path / name).chmod(0o755)
    write_comment("7_1", "'it's \"full\"'\n$HOME", 74)
    error = read_comment("7_1")
    assert (str(error), error.exit_code) == ("job 7_1: 'it's \"full\"' $HOME", 74)
    for other in ("", "(null)", "for the paper"):
        comment.write_text(f"{other}\n")
        assert read_comment("7_1") is None


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """Return a function that launches a sweep of six runs, some finished, and returns the submitted overrides."""
    submitted = []

    class Jobs:
        """SlurmJobs without a cluster: every submitted job completes."""

        def __init__(self, folder, params):
            self.jobs = []

        def submit(self, function, arguments, checkpoints=()):
            submitted.extend(overrides for overrides, *_ in arguments)
            self.jobs = [SimpleNamespace(job_id=f"7_{number}") for number in range(len(arguments))]

        def wait(self):
            return [JobReturn(status=JobStatus.COMPLETED, _return_value=0.5) for _ in self.jobs]

    def make_run(number, finished):
        config = Config(data=object())
        config.log.folder, config.log.run = str(tmp_path), f"seed={number}"
        run = SweepRun([f"hardware.seed={number}"], config)
        if finished:
            run.folder.create(plain_config(config))
            run.folder.write_summary({"status": "finished", "metrics": {}})
        return run

    def launch(finished):
        runs = [make_run(number, number in finished) for number in range(6)]
        launcher = SlurmLauncher.__new__(SlurmLauncher)
        launcher.evaluate, launcher.params = None, {}
        launcher.config = SimpleNamespace(hydra=SimpleNamespace(sweep=SimpleNamespace(dir=str(tmp_path))))
        launcher.hydra_context = SimpleNamespace(config_loader=None)
        launcher.task_function = SimpleNamespace(configured=len)
        monkeypatch.setattr(SweepRun, "compose", lambda launcher, overrides, first: runs)
        monkeypatch.setattr(submit, "SlurmJobs", Jobs)
        submitted.clear()
        returns = launcher.launch([each.overrides for each in runs], 0)
        assert [each.status for each in runs] == ["finished"] * 6
        assert len(returns) == 6
        return list(submitted)

    return launch


def test_finished_runs_of_a_sweep_are_not_submitted_again(sweep, capsys):
    assert sweep(finished=range(6)) == []
    assert "6 runs: 6 finished earlier, 0 to do" in capsys.readouterr().out


def test_unfinished_runs_of_a_sweep_are_submitted(sweep):
    assert sweep(finished={0, 1, 4}) == [["hardware.seed=2"], ["hardware.seed=3"], ["hardware.seed=5"]]
