"""``hydra/launcher=submitit_slurm``: submitit's launcher, with the end of a job that a training run needs."""

import logging
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher as SubmititLauncher

from ssl_core.errors import Preempted
from ssl_core.signals import leave_at_once

_message = logging.getLogger(__name__)


class SlurmLauncher(SubmititLauncher):
    """Submits a job, or an array of them for a sweep, and waits for its end.

    A job whose run was told to stop comes back, in the same run folder (:mod:`ssl_launch.batch_script`); one whose run has
    failed ends with the exit code of its error, so that ``sacct`` and ``--dependency=afterok`` know.
    """

    def __init__(self, max_num_crashes: int = 3, **params: Any) -> None:
        super().__init__(**params)
        self.max_num_crashes = max_num_crashes
        self.command = list(sys.argv)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Submit, say what was submitted, and return how each member of the sweep has ended."""
        from ssl_launch.slurm_jobs import SlurmJobs

        assert self.config is not None
        jobs = SlurmJobs(self.config.hydra.sweep.dir, self.params, self.max_num_crashes)
        arguments = []
        for number, overrides in enumerate(job_overrides, start=initial_job_idx):
            _message.info("#%d: %s", number, " ".join(filter_overrides(overrides)))
            arguments.append(
                (list(overrides), "hydra.sweep.dir", number, f"job_id_for_{number}", Singleton.get_state())
            )
        jobs.submit(self, arguments)
        return jobs.wait()

    def __call__(self, *arguments: Any, **options: Any) -> JobReturn:
        """Run one member. This is in the job, in each of its processes."""
        for number in (
            signal.SIGUSR2,
            signal.SIGTERM,
        ):  # submitit's own would requeue in one rank and leave the others alone
            signal.signal(number, leave_at_once)
        sys.argv = self.command  # for the summary of the run
        result = super().__call__(*arguments, **options)
        if result.status is JobStatus.FAILED:
            _end(result)
        return result


def _end(result: JobReturn) -> None:
    """Leave the job with the exit code of what has ended the run; whoever waits for the job is told what it was."""
    import submitit
    from submitit.core.utils import cloudpickle_dump, temporary_save_path

    from ssl_launch.slurm_jobs import failed

    error: Any = result._return_value
    code = getattr(error, "exit_code", 1)
    if not isinstance(error, Preempted):  # it is not over
        traceback.print_exception(error)
        job = submitit.JobEnvironment()
        result.return_value = failed(job.job_id, str(job.paths.stderr), error)
        with temporary_save_path(job.paths.result_pickle) as path:
            cloudpickle_dump(("success", result), path)
    raise SystemExit(code)
