"""``hydra/launcher=submitit_slurm``: submitit's launcher, with the end of a job that a training run needs."""

import logging
import sys
from collections.abc import Sequence
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, filter_overrides
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher as SubmititLauncher

from ssl_core.config import Config

_message = logging.getLogger(__name__)


class SlurmLauncher(SubmititLauncher):
    """Submits a job, or an array of them for a sweep, and waits for its end.

    A job whose run was told to stop comes back, in the same run folder (:mod:`ssl_launch.batch_script`); one whose run has
    failed ends with the exit code of its error, so that ``sacct`` and ``--dependency=afterok`` know.
    """

    def __init__(self, evaluate: str | None = None, **params: Any) -> None:
        super().__init__(**params)
        self.evaluate = evaluate
        self.command = list(sys.argv)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Submit, say what was submitted, and return how each member of the sweep has ended."""
        from ssl_launch.evaluation_jobs import EvaluationJobs
        from ssl_launch.slurm_jobs import SlurmJobs, note_deaths

        assert self.config is not None
        assert self.hydra_context is not None
        loader = self.hydra_context.config_loader
        configs = self._configs(job_overrides, initial_job_idx)
        method = getattr(self.task_function, "method", None)
        evaluations = EvaluationJobs(self.evaluate, loader, configs, method) if self.evaluate else None
        jobs = SlurmJobs(self.config.hydra.sweep.dir, self.params)
        arguments = []
        for number, overrides in enumerate(job_overrides, start=initial_job_idx):
            _message.info("#%d: %s", number, " ".join(filter_overrides(overrides)))
            arguments.append(
                (list(overrides), "hydra.sweep.dir", number, f"job_id_for_{number}", Singleton.get_state())
            )
        jobs.submit(self, arguments)
        if evaluations is not None:
            evaluations.submit(jobs)
        ends = jobs.wait()
        note_deaths(configs, jobs, ends)
        if evaluations is not None:
            evaluations.wait(ends)
        return ends

    def _configs(self, job_overrides: Sequence[Sequence[str]], first: int) -> list[Config]:
        """Return what each member trains, nothing perhaps, or refuse them all: a job would find out when it is its turn."""
        from ssl_core.run_folder import free_keys, plain_config
        from ssl_launch.member import Member
        from ssl_launch.sweep import refuse_twins

        if getattr(self.task_function, "configured", None) is None or self.config is None or self.hydra_context is None:
            return []
        loader = self.hydra_context.config_loader
        members = Member.all(self.task_function, loader, self.config, job_overrides, first)
        refuse_twins(members)
        for member in members:
            member.folder.refuse_other(plain_config(member.config), free_keys(member.config))
        return [member.config for member in members]

    def __call__(self, *arguments: Any, **options: Any) -> JobReturn:
        """Run one member. This is in the job, in each of its processes."""
        from ssl_launch import slurm_process

        slurm_process.answer_signals()
        sys.argv = self.command  # for the summary of the run
        return slurm_process.ended(super().__call__(*arguments, **options))
