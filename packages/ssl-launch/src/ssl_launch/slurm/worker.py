"""One process of a SLURM job: how it answers signals, and with what it ends."""

import contextlib
import signal
import traceback
from collections.abc import Callable
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from ssl_core.errors import ConfigError, Preempted, RunError
from ssl_core.run.signals import leave_at_once
from ssl_eval.output_stream import protect_output
from ssl_launch.slurm import job_comment
from ssl_launch.slurm.errors import JobError


def prepare() -> None:
    """Continue where messages cannot be written, and replace submitit's handlers of signals.

    The log is on the disk of the runs, which may be full. Submitit's handlers would requeue in one rank while the others
    compute.
    """
    protect_output()
    for number in (signal.SIGUSR2, signal.SIGTERM):
        signal.signal(number, leave_at_once)


def run(function: Callable[..., Any], *arguments: Any) -> JobReturn:
    """Call a function, and end as a member of a sweep does."""
    prepare()
    result = JobReturn()
    try:
        result.return_value = function(*arguments)
        result.status = JobStatus.COMPLETED
    except Exception as error:
        result.return_value = error
        result.status = JobStatus.FAILED
    return ended(result)


def ended(result: JobReturn) -> JobReturn:
    """Return the result of what has ended well; leave with the error's exit code where it has not.

    So SLURM knows that the job has failed. Whoever waits for it is told in what way, unless the run was only stopped: then it
    is not over.
    """
    import submitit
    from submitit.core.utils import cloudpickle_dump, temporary_save_path

    if result.status is JobStatus.COMPLETED:
        return result
    error: Any = result._return_value
    code = getattr(error, "exit_code", 1)
    if not isinstance(error, Preempted):
        with contextlib.suppress(OSError):  # stderr is a file on the same disk
            traceback.print_exception(error)
        job = submitit.JobEnvironment()
        said = str(error) if isinstance(error, RunError | ConfigError) else f"{type(error).__name__}: {error}"
        result.return_value = JobError(f"job {job.job_id}: {said}; see {job.paths.stderr}", code)
        try:
            with temporary_save_path(job.paths.result_pickle) as path:
                cloudpickle_dump(("success", result), path)
        except OSError:
            if job.global_rank == 0:
                job_comment.write(job.job_id, said, code)
    raise SystemExit(code)
