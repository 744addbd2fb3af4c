"""What becomes of submitit's many lines, without a cluster. Oracle: submitit's own sentences."""

from types import SimpleNamespace

import pytest
from submitit.core import core
from submitit.core.utils import FailedJobError, UncompletedJobError

from ssl_launch.job_error import JobError
from ssl_launch.slurm_jobs import _outcome


def failing(error):
    def results():
        raise error

    return SimpleNamespace(job_id="7_1", results=results, paths=SimpleNamespace(stderr="the log"))


def submitits_own(tmp_path):
    """Return what submitit raises for a job whose result is a traceback."""

    class Failed(core.Job):
        def wait(self):
            pass

        def _get_outcome_and_result(self):
            return "error", "Traceback (most recent call last):\n  File ...\nKeyError: 'lr'\n"

    return Failed(tmp_path, "7_1").exception()


def test_the_end_of_a_traceback_or_the_missing_result_is_what_is_said(tmp_path):
    error = submitits_own(tmp_path)
    assert isinstance(error, FailedJobError)
    for raised, line in (
        (error, "job 7_1 has failed: KeyError: 'lr'; see the log"),
        (
            UncompletedJobError(
                "Job 7 (task: 0) with path x\nhas not produced any output (state: TIMEOUT)\nError stream"
            ),
            "job 7_1 has not produced any output (state: TIMEOUT); see the log",
        ),
        (UncompletedJobError("something else"), "job 7_1 has failed: something else; see the log"),
    ):
        with pytest.raises(JobError) as caught:
            _outcome(failing(raised)).return_value  # noqa: B018
        assert str(caught.value) == line
