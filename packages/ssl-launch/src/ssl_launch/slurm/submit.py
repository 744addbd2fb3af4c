"""SLURM jobs of one command line: submit, wait, and return how each job has ended."""

import dataclasses
import logging
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import submitit
from hydra.core.utils import JobReturn, JobStatus
from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
from submitit.core.utils import FailedJobError, FailedSubmissionError, UncompletedJobError

from ssl_core.errors import ConfigError, DiskError
from ssl_core.run.atomic_file import translate_disk_errors
from ssl_launch.slurm import sbatch_script
from ssl_launch.slurm.config import signal_delay_s
from ssl_launch.slurm.errors import JobError, read_comment

_message = logging.getLogger(__name__)
MAX_WAIT_S = 300  # that the other ranks of a job continue after one has ended; a killed rank leaves them hanging
MAX_POLL_S = 60.0  # between two calls of squeue
PROBE_BYTES = 4096  # written to test a disk: one block
NEVER = {  # reasons of a pending job that do not resolve themselves (squeue's manual, JOB REASON CODES)
    "AccountNotAllowed", "AssocMaxCpuPerJobLimit", "AssocMaxMemPerJob", "AssocMaxNodePerJobLimit",
    "AssocMaxWallDurationPerJobLimit", "BadConstraints", "InvalidAccount", "InvalidQOS", "PartitionConfig",
    "PartitionNodeLimit", "PartitionTimeLimit", "QOSMaxCpuPerJobLimit", "QOSMaxMemoryPerJob", "QOSMaxNodePerJobLimit",
    "QOSMaxWallDurationPerJobLimit", "QOSNotAllowed",
}  # fmt: skip
_COMMON = {field.name for field in dataclasses.fields(BaseQueueConf)}  # the others have "slurm_" in front, for submitit


class SlurmJobs:
    """Submit functions to SLURM and wait for their results.

    Parameters
    ----------
    folder : str
        Folder of the sweep; created at submission.
    params : dict
        ``hydra.launcher`` without ``evaluate`` (:class:`~ssl_launch.slurm.config.SlurmConf`), and other options of
        submitit's SLURM executor.
    """

    def __init__(self, folder: str, params: dict[str, Any]) -> None:
        self.folder = folder
        self.params = dict(params)
        self.jobs: list[Any] = []
        self._comments: dict[str, JobError | None] = {}  # of jobs that have ended without a result

    def submit(
        self, function: Callable[..., JobReturn], arguments: Sequence[tuple[Any, ...]], checkpoints: Sequence[str] = ()
    ) -> None:
        """Submit one job for each tuple of arguments; several jobs are an array.

        Parameters
        ----------
        function, arguments
            Called in the jobs.
        checkpoints : sequence of str
            Folder of the checkpoints of each job. Empty: the jobs write no checkpoints.

        Raises
        ------
        JobError
            If SLURM rejects the job; the message is SLURM's.
        ConfigError
            If SLURM is not installed here, or the folder cannot be written.
        """
        try:
            executor = self._executor(checkpoints)
            Path(self.folder).mkdir(parents=True, exist_ok=True)
            self.jobs = executor.map_array(function, *zip(*arguments))
        except (FailedJobError, FailedSubmissionError, subprocess.SubprocessError) as error:
            raise JobError(f"SLURM rejected the job: {_without_prefix(str(error))}") from error
        except OSError as error:
            if error.filename == "sbatch":
                raise ConfigError(_not_installed("sbatch")) from error
            raise ConfigError(
                f"log.folder: cannot write to '{self.folder}': {error.strerror}; choose another with log.folder=FOLDER"
            ) from error
        _message.info("submitted %s; output: %s; to cancel: scancel %s", self, self._logs(), self.number)

    @property
    def number(self) -> str:
        """Number of the job, or of the array."""
        return self.jobs[0].job_id.partition("_")[0]

    def __str__(self) -> str:
        return f"job {self.number}" + (f" (an array of {len(self.jobs)})" if len(self.jobs) > 1 else "")

    def wait(self) -> list[JobReturn]:
        """Wait for all jobs and return how they have ended.

        Raises
        ------
        JobError
            If SLURM reports that a job will never start; all are cancelled.
        KeyboardInterrupt
            At Ctrl-C. The jobs continue; the message says how to cancel them.
        """
        shown, pause, next_poll = "", 2.0, 0.0
        try:
            while not all(job.done() for job in self.jobs):
                if time.monotonic() >= next_poll:
                    shown = self._poll(shown)
                    pause = min(2 * pause, MAX_POLL_S)
                    next_poll = time.monotonic() + pause
                time.sleep(0.5)
            self._read_comments()
            return [self._result(job) for job in self.jobs]
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted: {self} continues in SLURM; output: {self._logs()}; to cancel: scancel {self.number}"
            ) from None

    def _poll(self, shown: str) -> str:
        """Log the states of the jobs if they have changed; return them. Cancel jobs that will never start."""
        queue = self._queue()
        states = ", ".join(f"{count} {state}" for state, count in sorted(Counter(queue).items())) or shown
        if states != shown:
            _message.info("%s: %s", self, states)
        for state in queue:
            if state.startswith("pending (") and state[len("pending (") : -1] in NEVER:
                subprocess.run(["scancel", self.number], capture_output=True)
                raise JobError(f"SLURM will never start {self}: {state}; it was cancelled")
        if len(queue) < sum(not job.done() for job in self.jobs):  # one has ended without a result
            self.jobs[0].watcher.update()
            self._read_comments()
        return states

    def _queue(self) -> list[str]:
        """Return the state of each job in the queue, e.g. "running" or "pending (Priority)"."""
        command = ["squeue", "--noheader", "--array", "--jobs", self.number, "--format", "%T %r"]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0 and "Invalid job id" not in result.stderr:  # jobs that ended some time ago
            return [f"unknown ({_without_prefix(result.stderr)}); the jobs continue"]
        states = [line.split(maxsplit=1) for line in result.stdout.splitlines()]
        return [state.lower() if reason == "None" else f"{state.lower()} ({reason})" for state, reason in states]

    def _read_comments(self) -> None:
        """Read the comments of jobs without a result now: SLURM forgets them, and other jobs may run for days."""
        for job in self.jobs:
            if job.job_id not in self._comments and job.done() and not job.task(0).paths.result_pickle.exists():
                self._comments[job.job_id] = read_comment(job.job_id)

    def _result(self, job: Any) -> JobReturn:
        """Return the result of a job that has ended, or its error: from its comment, its result file or its disk."""
        error = self._comments.get(job.job_id)
        if error is None:
            try:
                return job.results()[0]
            except FailedJobError as failed:  # before our function was called, e.g. an import error
                trace = str(failed).rsplit("-" * 22, 2)[1].strip()
                error = _job_error(job, f"has failed: {trace.splitlines()[-1]}")
            except (UncompletedJobError, OSError):  # submitit writes to the folder before it reads the result
                error = _job_error(job, f"has left no result (state: {job.state})")
        return JobReturn(status=JobStatus.FAILED, _return_value=error)

    def _executor(self, checkpoints: Sequence[str]) -> Any:
        params = dict(self.params)
        folder = params.pop("submitit_folder")
        limits = {name: params.pop(name) for name in ("max_num_timeout", "max_num_crashes")}
        try:
            executor = submitit.AutoExecutor(folder=folder, cluster="slurm")
        except RuntimeError as error:  # submitit looks for srun
            raise ConfigError(_not_installed("srun")) from error
        timeout_min = params["timeout_min"]
        delay = params["signal_delay_s"] = signal_delay_s(params["signal_delay_s"], timeout_min)
        requeue = sbatch_script.setup(str(executor.folder), checkpoints, timeout_min, delay, **limits)
        params["setup"] = [*(params.get("setup") or []), *requeue]
        params["teardown"] = sbatch_script.teardown(params.get("teardown") or [])
        params["srun_args"] = [f"--wait={MAX_WAIT_S}", *(params.get("srun_args") or [])]
        params["additional_parameters"] = {"requeue": True, **(params.get("additional_parameters") or {})}
        executor.update_parameters(**{n if n in _COMMON else f"slurm_{n}": value for n, value in params.items()})
        return executor

    def _logs(self) -> str:
        return str(Path(self.jobs[0].paths.folder).parent / f"{self.number}{'_*' if len(self.jobs) > 1 else ''}")


def _job_error(job: Any, sentence: str) -> JobError:
    """Return the error of a job without a result; if its disk cannot be written, that is the reason."""
    log = job.task(0).paths.stderr
    try:
        with translate_disk_errors(log, PROBE_BYTES), tempfile.TemporaryFile(dir=log.parent) as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
    except DiskError as error:
        return JobError(f"job {job.job_id} {sentence}: {error}", error.exit_code)
    return JobError(f"job {job.job_id} {sentence}; see {log}")


def _not_installed(program: str) -> str:
    return (
        f"hydra/launcher=submitit_slurm: {program} was not found; submit on a machine with SLURM, or leave the launcher out "
        "to train here"
    )


def _without_prefix(text: str) -> str:
    """Return a message of ``sbatch`` without its name in front of every line."""
    return " ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in text.splitlines())
