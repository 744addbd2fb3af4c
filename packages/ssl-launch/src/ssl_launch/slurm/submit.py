"""The jobs of one command line, as whoever typed it sees them: submitted or refused, waited for, ended."""

import logging
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from ssl_core.config import Config
from ssl_core.errors import ConfigError, DiskError
from ssl_core.run.atomic_file import translate_disk_errors
from ssl_core.run.folder import RunFolder
from ssl_launch.slurm import job_comment, sbatch_script
from ssl_launch.slurm.config import signal_delay_s
from ssl_launch.slurm.errors import JobError

_message = logging.getLogger(__name__)
LONGEST_WAIT_S = 300  # that other ranks of a job go on when one has ended: one that was killed leaves them hanging
LONGEST_PAUSE = 60.0  # seconds between two looks at the queue
PROBE_BYTES = 4096  # that are tried on a disk: a block
NEVER = {  # what SLURM has a job wait for that does not come by itself (squeue's manual, JOB REASON CODES)
    "AccountNotAllowed", "AssocMaxCpuPerJobLimit", "AssocMaxMemPerJob", "AssocMaxNodePerJobLimit",
    "AssocMaxWallDurationPerJobLimit", "BadConstraints", "InvalidAccount", "InvalidQOS", "PartitionConfig",
    "PartitionNodeLimit", "PartitionTimeLimit", "QOSMaxCpuPerJobLimit", "QOSMaxMemoryPerJob", "QOSMaxNodePerJobLimit",
    "QOSMaxWallDurationPerJobLimit", "QOSNotAllowed",
}  # fmt: skip
_OF_AUTO_EXECUTOR = {  # which submitit knows for other clusters as well, without "slurm_" in front
    "timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "name", "stderr_to_stdout",
}  # fmt: skip


class SlurmJobs:
    """Submits functions to SLURM and waits for what they return.

    Parameters
    ----------
    folder : str
        Of the sweep; made here.
    params : dict
        ``hydra.launcher``, but for ``evaluate`` (:class:`~ssl_launch.slurm.config.SlurmConf`), and what else ``sbatch`` takes.
    """

    def __init__(self, folder: str, params: dict[str, Any]) -> None:
        self.folder = folder
        self.params = dict(params)
        self.jobs: list[Any] = []
        self._last_words: dict[str, JobError | None] = {}  # of those that have left no result

    def submit(
        self, function: Callable[..., JobReturn], arguments: Sequence[tuple[Any, ...]], checkpoints: Sequence[str] = ()
    ) -> None:
        """Submit one job for each tuple of arguments, as an array where there are several.

        Parameters
        ----------
        function, arguments
            What is called in the jobs, and with what.
        checkpoints : sequence of str
            The folder of the checkpoints that each job writes, where they do.

        Raises
        ------
        JobError
            In SLURM's own words, if it refuses.
        ConfigError
            If this machine has no SLURM, or the folder cannot be written.
        """
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        try:
            executor = self._executor(checkpoints)
            Path(self.folder).mkdir(parents=True, exist_ok=True)
            self.jobs = executor.map_array(function, *zip(*arguments))
        except (FailedJobError, FailedSubmissionError, subprocess.SubprocessError) as error:
            raise JobError(f"SLURM refused the job: {_words(str(error))}") from error
        except OSError as error:
            if error.filename == "sbatch":
                raise ConfigError(_no_slurm("sbatch")) from error
            raise ConfigError(
                f"log.folder: nothing can be written to '{self.folder}': {error.strerror}; choose another with "
                "++log.folder=FOLDER"
            ) from error
        _message.info("submitted %s; its output is in %s; scancel %s ends it", self, self._logs(), self.number)

    @property
    def number(self) -> str:
        """The job's, or the array's."""
        return self.jobs[0].job_id.partition("_")[0]

    def __str__(self) -> str:
        return f"job {self.number}" + (f" (an array of {len(self.jobs)})" if len(self.jobs) > 1 else "")

    def wait(self) -> list[JobReturn]:
        """Wait for all jobs and return how they ended.

        Raises
        ------
        JobError
            If SLURM has taken the jobs and says that it will never begin one of them; they are cancelled.
        KeyboardInterrupt
            At Ctrl-C: the jobs are not cancelled, and the text says how they can be.
        """
        try:
            self._watch()
            self._hear()
            said = [self._last_words.get(job.job_id) for job in self.jobs]
            return [_failed(error) if error else _outcome(job) for job, error in zip(self.jobs, said)]
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted: {self} goes on in SLURM; its output is in {self._logs()}; scancel {self.number} ends it"
            ) from None

    def _watch(self) -> None:
        """Say what becomes of the jobs until all have ended."""
        shown, pause, next_look = "", 2.0, 0.0
        while not all(job.done() for job in self.jobs):
            if time.monotonic() >= next_look:
                queue = self._queue()
                said = ", ".join(f"{count} {state}" for state, count in sorted(Counter(queue).items()))
                if said and said != shown:
                    _message.info("%s: %s", self, said)
                    shown = said
                self._refuse_hopeless(queue)
                if len(queue) < sum(not job.done() for job in self.jobs):  # one has ended, and has left no result
                    self.jobs[0].watcher.update()
                    self._hear()
                pause = min(2 * pause, LONGEST_PAUSE)
                next_look = time.monotonic() + pause
            time.sleep(0.5)

    def _hear(self) -> None:
        """Take over what jobs without a result have left with SLURM, while it remembers them: other jobs may go on for days."""
        for job in self.jobs:
            if job.job_id not in self._last_words and job.done() and not job.task(0).paths.result_pickle.exists():
                self._last_words[job.job_id] = job_comment.read(job.job_id)

    def _queue(self) -> list[str]:
        """Return how each job that has not ended stands: "running", or "pending (Priority)", say."""
        command = ["squeue", "--noheader", "--array", "--jobs", self.number, "--format", "%T %r"]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0 and "Invalid job id" not in result.stderr:  # it forgets jobs that have ended
            return [f"unknown ({_words(result.stderr)}); they go on"]
        states = [line.split(maxsplit=1) for line in result.stdout.splitlines()]
        return [state.lower() if reason == "None" else f"{state.lower()} ({reason})" for state, reason in states]

    def _refuse_hopeless(self, queue: list[str]) -> None:
        for said in queue:
            if said.startswith("pending (") and said[len("pending (") : -1] in NEVER:
                subprocess.run(["scancel", self.number], capture_output=True)
                raise JobError(f"SLURM will never begin {self}: {said}; it was cancelled")

    def _executor(self, checkpoints: Sequence[str]) -> Any:
        import submitit

        params = dict(self.params)
        folder = params.pop("submitit_folder")
        most, most_crashes = params.pop("max_num_timeout"), params.pop("max_num_crashes")
        try:
            executor = submitit.AutoExecutor(folder=folder, cluster="slurm", slurm_max_num_timeout=most)
        except RuntimeError as error:  # submitit looks for srun
            raise ConfigError(_no_slurm("srun")) from error
        minutes = params["timeout_min"]
        delay = params["signal_delay_s"] = signal_delay_s(params["signal_delay_s"], minutes)
        watch = sbatch_script.before(str(executor.folder), checkpoints, delay, most, most_crashes)
        params["setup"] = [*(params.get("setup") or []), *watch]
        code, unwatch, *decision = sbatch_script.after(minutes, delay)
        params["teardown"] = [code, unwatch, *(params.get("teardown") or []), *decision]
        params["srun_args"] = [f"--wait={LONGEST_WAIT_S}", *(params.get("srun_args") or [])]
        params["additional_parameters"] = {"requeue": True, **(params.get("additional_parameters") or {})}
        executor.update_parameters(
            **{name if name in _OF_AUTO_EXECUTOR else f"slurm_{name}": value for name, value in params.items()}
        )
        return executor

    def _logs(self) -> str:
        return str(Path(self.jobs[0].paths.folder).parent / f"{self.number}{'_*' if len(self.jobs) > 1 else ''}")


def mark_killed_as_failed(configs: Sequence[Config], jobs: SlurmJobs, ends: Sequence[JobReturn]) -> None:
    """Say in the summary of each run whose process was killed that it has failed: it could not do so itself."""
    for config, job, end in zip(configs, jobs.jobs, ends):
        folder = RunFolder.of(config)
        summary = folder.read_summary()
        ours = summary.get("slurm", {}).get("job") == job.job_id
        if end.status is JobStatus.FAILED and summary.get("status") == "running" and ours:
            try:
                folder.write_summary({**summary, "status": "failed", "error": str(end._return_value)})
            except DiskError as error:  # what the job has met may still be so; that it has failed is said all the same
                _message.warning("%s", error)


def _outcome(job: Any) -> JobReturn:
    from submitit.core.utils import UncompletedJobError

    try:
        return job.results()[0]
    except UncompletedJobError as missing:  # submitit's FailedJobError is one
        return _failed(_without_result(job.task(0), _essence(str(missing))))
    except OSError:  # submitit writes something before it reads
        return _failed(_without_result(job.task(0), f"has left no result that can be read (state: {job.state})"))


def _failed(error: JobError) -> JobReturn:
    result = JobReturn()
    result.status = JobStatus.FAILED
    result.return_value = error
    return result


def _without_result(job: Any, said: str) -> JobError:
    """Return the error of a job that has left nothing: it is the disk's, if that takes nothing from here either."""
    log = job.paths.stderr
    try:
        with translate_disk_errors(log, PROBE_BYTES), tempfile.TemporaryFile(dir=log.parent) as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
    except DiskError as refused:
        return JobError(f"job {job.job_id} {said}: {refused}", refused.exit_code)
    return JobError(f"job {job.job_id} {said}; see {log}")


def _essence(said: str) -> str:
    """Return the line that matters of what submitit says: that there is no result, or the end of a traceback between rules."""
    lines = [line for line in said.splitlines() if line.strip()]
    rules = [number for number, line in enumerate(lines) if set(line) == {"-"}]
    without_result = [line for line in lines if "has not produced any output" in line]
    return without_result[0] if without_result else f"has failed: {lines[rules[-1] - 1 if rules else 0]}"


def _no_slurm(program: str) -> str:
    return (
        f"hydra/launcher=submitit_slurm: there is no {program} here; submit where SLURM is, or leave the launcher out to "
        "train on this machine"
    )


def _words(said: str) -> str:
    """Return what ``sbatch`` says, without its name in front of every line."""
    return " ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in said.splitlines())
