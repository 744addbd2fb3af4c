"""Process of a SLURM job: its signal handlers, its result and its exit code."""

import contextlib
import signal
import traceback
from collections.abc import Callable
from typing import Any

import submitit
from hydra.core.utils import JobReturn, JobStatus
from submitit.core.utils import cloudpickle_dump, temporary_save_path

from ssl_core.errors import ConfigError, Preempted, RunError
from ssl_core.run.signals import leave_at_once
from ssl_eval.output_stream import protect_output
from ssl_launch.slurm.errors import JobError, write_comment


def prepare() -> None:
    """Protect the output streams, and replace submitit's signal handlers.

    The log is on the disk of the runs, which may be full. Submitit's handler requeues the job in rank 0 while the other ranks
    continue to train.
    """
    protect_output()
    for number in (signal.SIGUSR2, signal.SIGTERM):
        signal.signal(number, leave_at_once)


def run(function: Callable[..., Any], *arguments: Any) -> JobReturn:
    """Call a function in a job; return its value, or exit with the exit code of its error."""
    prepare()
    try:
        return exit_if_failed(JobReturn(status=JobStatus.COMPLETED, _return_value=function(*arguments)))
    except Exception as error:
        return exit_if_failed(JobReturn(status=JobStatus.FAILED, _return_value=error))


def exit_if_failed(result: JobReturn) -> JobReturn:
    """Return the result of a completed run; for a failed run save its error for the waiting command, and exit.

    The exit code is that of the error, for SLURM's accounting and dependencies; submitit's is always 1. A preempted run
    saves no result: its job is requeued.
    """
    if result.status is JobStatus.COMPLETED:
        return result
    error: Any = result._return_value
    exit_code = getattr(error, "exit_code", 1)
    if not isinstance(error, Preempted):
        with contextlib.suppress(OSError):  # stderr is a file on the same disk
            traceback.print_exception(error)
        job = submitit.JobEnvironment()
        sentence = str(error) if isinstance(error, RunError | ConfigError) else f"{type(error).__name__}: {error}"
        result.return_value = JobError(f"job {job.job_id}: {sentence}; see {job.paths.stderr}", exit_code)
        try:
            with temporary_save_path(job.paths.result_pickle) as path:
                cloudpickle_dump(("success", result), path)
        except OSError:
            if job.global_rank == 0:
                write_comment(job.job_id, sentence, exit_code)
    raise SystemExit(exit_code)
