"""``hydra/launcher=submitit_slurm``: submitit's launcher with our requeue logic, evaluation jobs and exit codes."""

import logging
import sys
from collections.abc import Sequence
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher as SubmititLauncher

from ssl_launch.slurm import submit, worker
from ssl_launch.sweep.runner import sweep_table, unfinished_runs
from ssl_launch.sweep.sweep_run import SweepRun

_message = logging.getLogger(__name__)


class SlurmLauncher(SubmititLauncher):
    """Submit a job, or an array for a sweep, and wait for its end.

    A job whose run was told to stop is requeued and resumes in its run folder (``ssl_launch/slurm/requeue.sh``). A job whose
    run failed ends with the exit code of the error, for ``sacct`` and ``--dependency=afterok``.
    """

    def __init__(self, evaluate: str | None = None, **params: Any) -> None:
        super().__init__(**params)
        self.evaluate = evaluate
        self.command = list(sys.argv), list(sys.orig_argv)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Validate all runs, submit the unfinished ones, and return the metric or the error of each run."""
        assert self.config is not None
        assert self.hydra_context is not None
        trains = getattr(self.task_function, "configured", None) is not None  # else an evaluation
        runs = SweepRun.compose(self, job_overrides, initial_job_idx) if trains else []
        due = unfinished_runs(runs, retry_failed=True)
        for run in due:
            run.check_same_config()
        unique = list({id(run): run for run in runs}.values())
        evaluations = None
        if self.evaluate:
            from ssl_launch.slurm.evaluation_jobs import EvaluationJobs  # imports torch

            method = getattr(self.task_function, "method", None)
            configs = [run.config for run in unique]
            evaluations = EvaluationJobs(self.evaluate, self.hydra_context.config_loader, configs, method)
        jobs = submit.SlurmJobs(self.config.hydra.sweep.dir, self.params)
        positions = [runs.index(run) for run in due] if trains else list(range(len(job_overrides)))
        if positions:
            arguments = [self._arguments(job_overrides[each], initial_job_idx + each) for each in positions]
            jobs.submit(self, arguments, [str(run.folder.checkpoints.absolute()) for run in due])
        if evaluations is not None:
            job_ids = {id(run): job.job_id for run, job in zip(due, jobs.jobs)}
            evaluations.submit(jobs, [job_ids.get(id(run)) for run in unique])
        results = jobs.wait() if positions else []
        if not trains:
            return results
        errors: dict[int, Any] = {}
        for run, job, result in zip(due, jobs.jobs, results):
            errors[id(run)] = None if result.status is JobStatus.COMPLETED else result._return_value
            run.end_job(job.job_id, errors[id(run)])
        if len(runs) > 1:
            print("", sweep_table(runs).to_text(), sep="\n", flush=True)
        else:
            print(f"{runs[0].status:<11} {runs[0].folder.path}", flush=True)
        if evaluations is not None:
            evaluations.wait([run.status == "finished" for run in unique])
        return [run.job_return(errors.get(id(run))) for run in runs]

    def _arguments(self, overrides: Sequence[str], number: int) -> tuple[Any, ...]:
        """Return the arguments of ``__call__`` in a job."""
        _message.info("#%d: %s", number, " ".join(filter_overrides(overrides)))
        return list(overrides), "hydra.sweep.dir", number, f"job_id_for_{number}", Singleton.get_state()

    def __call__(self, *arguments: Any, **options: Any) -> JobReturn:
        """Run one run, in each process of its job."""
        worker.prepare()
        sys.argv, sys.orig_argv = self.command  # the summary records the user's command, not submitit's
        return worker.exit_if_failed(super().__call__(*arguments, **options))
