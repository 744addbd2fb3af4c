"""``hydra/launcher=submitit_slurm``: submitit's launcher, with the end of a job that a training run needs."""

import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher as SubmititLauncher

if TYPE_CHECKING:
    from ssl_launch.sweep.sweep_run import SweepRun

_message = logging.getLogger(__name__)


class SlurmLauncher(SubmititLauncher):
    """Submits a job, or an array of them for a sweep, and waits for its end.

    A job whose run was told to stop comes back, in the same run folder (:mod:`ssl_launch.slurm.sbatch_script`); one whose
    run has failed ends with the exit code of its error, so that ``sacct`` and ``--dependency=afterok`` know.
    """

    def __init__(self, evaluate: str | None = None, **params: Any) -> None:
        super().__init__(**params)
        self.evaluate = evaluate
        self.command = list(sys.argv), list(sys.orig_argv)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Submit what is not finished, say what was submitted, and return how each member of the sweep has ended."""
        from ssl_launch.slurm.evaluation_jobs import EvaluationJobs
        from ssl_launch.slurm.submit import SlurmJobs, mark_killed_as_failed
        from ssl_launch.sweep.runner import members_to_run

        assert self.config is not None
        assert self.hydra_context is not None
        loader = self.hydra_context.config_loader
        members = self._members(job_overrides, initial_job_idx)
        due = members_to_run(members, retry_failed=True)
        for member in due:
            member.check_same_config()
        runs = list({id(member): member for member in members}.values())
        method = getattr(self.task_function, "method", None)
        configs = [member.config for member in runs]
        evaluations = EvaluationJobs(self.evaluate, loader, configs, method) if self.evaluate else None
        jobs = SlurmJobs(self.config.hydra.sweep.dir, self.params)
        arguments, submitted = [], []
        for position, overrides in enumerate(job_overrides):
            if members and (members[position] not in due or members[position] in submitted):
                continue
            submitted += members[position : position + 1]
            number = initial_job_idx + position
            _message.info("#%d: %s", number, " ".join(filter_overrides(overrides)))
            arguments.append(
                (list(overrides), "hydra.sweep.dir", number, f"job_id_for_{number}", Singleton.get_state())
            )
        if arguments:
            jobs.submit(self, arguments, [str(member.folder.checkpoints.absolute()) for member in submitted])
        if evaluations is not None:
            behind = {id(member): job.job_id for member, job in zip(submitted, jobs.jobs)}
            evaluations.submit(jobs, [behind.get(id(member)) for member in runs])
        ends = jobs.wait() if arguments else []
        mark_killed_as_failed([member.config for member in submitted], jobs, ends)
        returns = _returns(members, submitted, ends) if members else ends
        if evaluations is not None:
            evaluations.wait([member.status == "finished" for member in runs])
        return returns

    def _members(self, job_overrides: Sequence[Sequence[str]], first: int) -> "list[SweepRun]":
        """Return what is trained, nothing perhaps, or refuse all of it: a job would find out when it is its turn."""
        from ssl_launch.sweep.runner import share_twins
        from ssl_launch.sweep.sweep_run import SweepRun

        if getattr(self.task_function, "configured", None) is None or self.config is None or self.hydra_context is None:
            return []
        loader = self.hydra_context.config_loader
        return share_twins(SweepRun.all(self.task_function, loader, self.config, job_overrides, first))

    def __call__(self, *arguments: Any, **options: Any) -> JobReturn:
        """Run one member. This is in the job, in each of its processes."""
        from ssl_launch.slurm import worker

        worker.prepare()
        sys.argv, sys.orig_argv = self.command  # for the run's summary: what was typed, not what submitit has started
        return worker.ended(super().__call__(*arguments, **options))


def _returns(members: "list[SweepRun]", submitted: "list[SweepRun]", ends: Sequence[JobReturn]) -> list[JobReturn]:
    """Show how each member has ended, and return what a sweeper wants of it: the value of its metric, or the error."""
    from ssl_launch.sweep.member_return import SweepRunReturn
    from ssl_launch.sweep.runner import sweep_table

    errors: dict[int, Any] = {}
    for member, end in zip(submitted, ends):
        done = end.status is JobStatus.COMPLETED
        saved = member.folder.read_summary().get("status") == "preempted"  # it was cancelled
        member.status = "finished" if done else "preempted" if saved else "failed"
        member.error = "" if done else str(end._return_value)
        errors[id(member)] = end._return_value
    if len(members) > 1:
        print("", sweep_table(members).to_text(), sep="\n", flush=True)
    else:
        print(f"{members[0].status:<11} {members[0].folder.path}", flush=True)
    return [SweepRunReturn.of(member, errors.get(id(member))) for member in members]
