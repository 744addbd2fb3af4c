"""The jobs of one command line, as whoever typed it sees them: submitted or refused, waited for, ended."""

import logging
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from ssl_core.errors import ConfigError, RunError
from ssl_launch import batch_script
from ssl_launch.slurm_conf import signal_delay_s

_message = logging.getLogger(__name__)
_OF_AUTO_EXECUTOR = {
    "timeout_min",
    "cpus_per_task",
    "gpus_per_node",
    "tasks_per_node",
    "mem_gb",
    "nodes",
    "name",
    "stderr_to_stdout",
}


class JobError(RunError):
    """A job has failed, or SLURM has refused it. ``exit_code`` is that of the error in the job, where there was one."""

    def __init__(self, sentence: str, exit_code: int = 1) -> None:
        super().__init__(sentence, exit_code)
        self.exit_code = exit_code

    def __str__(self) -> str:
        return str(self.args[0])


class SlurmJobs:
    """Submits functions to SLURM and waits for what they return.

    Parameters
    ----------
    folder : str
        Of the sweep; made here.
    params : dict
        ``hydra.launcher``, but for the keys that are no parameter of submitit's.
    max_num_crashes : int
        See :class:`~ssl_launch.slurm_conf.SlurmConf`.
    """

    def __init__(self, folder: str, params: dict[str, Any], max_num_crashes: int) -> None:
        self.folder = folder
        self.params = dict(params)
        self.max_num_crashes = max_num_crashes
        self.jobs: list[Any] = []

    def submit(self, function: Callable[..., JobReturn], arguments: Sequence[tuple[Any, ...]]) -> None:
        """Submit one job for each tuple of arguments, as an array where there are several.

        Raises
        ------
        JobError
            In SLURM's own words, if it refuses.
        ConfigError
            If this machine has no SLURM, or the folder cannot be written.
        """
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        try:
            executor = self._executor()
            Path(self.folder).mkdir(parents=True, exist_ok=True)
            self.jobs = executor.map_array(function, *zip(*arguments))
        except (FailedJobError, FailedSubmissionError, subprocess.SubprocessError) as error:
            raise JobError(f"SLURM refused the job: {_words(str(error))}") from error
        except FileNotFoundError as error:
            if error.filename not in ("sbatch", "srun"):
                raise
            raise ConfigError(_no_slurm(error.filename)) from error
        except OSError as error:
            raise ConfigError(f"log.folder: nothing can be written to '{self.folder}': {error.strerror}") from error
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
        KeyboardInterrupt
            At Ctrl-C: the jobs are not cancelled, and the text says how they can be.
        """
        try:
            return [_outcome(job) for job in self.jobs]
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted: {self} goes on in SLURM; its output is in {self._logs()}; scancel {self.number} ends it"
            ) from None

    def _executor(self) -> Any:
        import submitit

        params = dict(self.params)
        folder, most = params.pop("submitit_folder"), params.pop("max_num_timeout")
        try:
            executor = submitit.AutoExecutor(folder=folder, cluster="slurm", slurm_max_num_timeout=most)
        except RuntimeError as error:  # submitit looks for srun
            raise ConfigError(_no_slurm("srun")) from error
        minutes = params["timeout_min"]
        delay = params["signal_delay_s"] = signal_delay_s(params["signal_delay_s"], minutes)
        params["setup"] = [*(params.get("setup") or []), *batch_script.BEFORE]
        params["teardown"] = batch_script.after(str(executor.folder), minutes, delay, most, self.max_num_crashes)
        params["additional_parameters"] = {"requeue": True, **(params.get("additional_parameters") or {})}
        executor.update_parameters(
            **{name if name in _OF_AUTO_EXECUTOR else f"slurm_{name}": value for name, value in params.items()}
        )
        return executor

    def _logs(self) -> str:
        return str(Path(self.jobs[0].paths.folder).parent / f"{self.number}{'_*' if len(self.jobs) > 1 else ''}")


def failed(job: str, log: str, error: BaseException) -> JobError:
    """Return the error of a run as whoever waits for its job is told: it can be pickled, and says where the rest stands."""
    said = str(error) if isinstance(error, RunError | ConfigError) else f"{type(error).__name__}: {error}"
    return JobError(f"job {job}: {said}; see {log}", getattr(error, "exit_code", 1))


def _outcome(job: Any) -> JobReturn:
    from submitit.core.utils import UncompletedJobError

    try:
        return job.results()[0]
    except UncompletedJobError as error:  # submitit's FailedJobError is one
        result = JobReturn()
        result.status = JobStatus.FAILED
        said = (
            str(error).splitlines()[1] if "has not produced any output" in str(error) else str(error).splitlines()[-1]
        )
        result.return_value = JobError(f"job {job.job_id} {said}; see {job.paths.stderr}")
        return result


def _no_slurm(program: str) -> str:
    return (
        f"hydra/launcher=submitit_slurm: there is no {program} here; submit where SLURM is, or leave the launcher out to "
        "train on this machine"
    )


def _words(said: str) -> str:
    """Return what ``sbatch`` says, without its name in front of every line."""
    return " ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in said.splitlines())
