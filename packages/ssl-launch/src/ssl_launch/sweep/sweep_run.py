"""One run of a sweep: its configuration, folder, status and metric."""

import logging
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import open_dict

from ssl_core.config import Config
from ssl_core.errors import ConfigError, DiskError, Preempted, RunFolderError
from ssl_core.run.folder import RunFolder, plain_config, resume_overridable_keys
from ssl_eval.metrics.registry import accuracies

_message = logging.getLogger(__name__)


class SweepRunReturn(JobReturn):
    """Metric or error of a run, for Hydra's sweepers. Hydra's own class also prints a line; the table has it already."""

    @property  # type: ignore[misc]
    def return_value(self) -> Any:
        """Metric of a finished run; raises the error of any other."""
        if self.status is JobStatus.COMPLETED:
            return self._return_value
        raise self._return_value


@dataclass
class SweepRun:
    """One run of a sweep. The launchers start it and update its status.

    Attributes
    ----------
    overrides : list of str
        Its command-line overrides, the swept values included.
    config : Config
        Its validated configuration.
    status : str
        ``waiting``, ``running``, ``finished``, ``preempted``, ``interrupted`` or ``failed``.
    error : str
        One line for a failed run.
    earlier : dict
        The summary in its folder before it was started.
    """

    overrides: list[str]
    config: Config
    status: str = "waiting"
    error: str = ""
    earlier: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def compose(cls, launcher: Any, job_overrides: Sequence[Sequence[str]], first: int) -> "list[SweepRun]":
        """Return the runs of a sweep; raise the ConfigError of any of them before one has started.

        Parameters
        ----------
        launcher : Launcher
            Hydra's launcher after ``setup``. ``task_function.configured`` builds a configuration.
        job_overrides : sequence of sequence of str
            Overrides of each run.
        first : int
            Number of the first run.
        """
        runs = []
        for number, overrides in enumerate(job_overrides, start=first):
            composed = launcher.hydra_context.config_loader.load_sweep_config(launcher.config, list(overrides))
            with open_dict(composed):
                composed.hydra.job.id = composed.hydra.job.num = number
            HydraConfig.instance().set_config(composed)  # for interpolations
            runs.append(cls(list(composed.hydra.overrides.task), launcher.task_function.configured(composed)))
        return merge_duplicates(runs)

    @property
    def folder(self) -> RunFolder:
        """The run folder."""
        return RunFolder.of(self.config)

    def check_same_config(self) -> None:
        """Raise a RunFolderError if the folder holds another run."""
        self.folder.check_same_config(plain_config(self.config), resume_overridable_keys(self.config))

    def read_earlier_result(self, retry_failed: bool) -> None:
        """Take the status of an earlier sweep: finished, or failed unless it is retried. All other runs are (re)started."""
        earlier = self.earlier = self.folder.read_summary()
        if earlier.get("status") not in ("finished", "failed"):
            return
        try:
            self.check_same_config()
        except RunFolderError:
            return  # another run; when this one starts it reports the difference
        if earlier["status"] == "finished":
            self.status = "finished"
        elif not retry_failed:
            self.status = "failed"
            self.error = f"in an earlier sweep (to retry: hydra.launcher.retry_failed=true): {earlier.get('error', '')}"

    def end_process(self, code: int) -> None:
        """Set status and error from the exit code of its process."""
        summary = self._summary()
        saved = summary.get("status") == "preempted"  # torchrun has its own exit codes
        stopped = {Preempted.exit_code: "preempted", 130: "interrupted"}
        self.status = "finished" if code == 0 else stopped.get(code, "preempted" if saved else "failed")
        if self.status == "failed":
            reason = summary.get("error") or last_line(self.folder.output)
            self.error = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}: {reason}"

    def end_job(self, job: str, error: Exception | None) -> None:
        """Set status and error from its SLURM job, and write them to the summary if the run was killed."""
        if error is None:
            self.status = "finished"
            return
        summary = self._summary()
        self.status = "preempted" if summary.get("status") == "preempted" else "failed"  # preempted: cancelled
        self.error = str(error)
        if summary.get("status") == "running" and summary.get("slurm", {}).get("job") == job:
            try:
                self.folder.write_summary({**summary, "status": "failed", "error": self.error})
            except DiskError as refused:  # the job may have ended for the same reason
                _message.warning("%s", refused)

    def _summary(self) -> dict[str, Any]:
        """Return the summary of this start; empty if the process ended before it wrote one."""
        summary = self.folder.read_summary()
        return {} if summary == self.earlier else summary

    def metric(self) -> tuple[str, float | None]:
        """Return name and last value of ``optim.monitor``, or else of the first accuracy."""
        metrics = self.folder.read_summary().get("metrics", {})
        name = self.config.optim.monitor or next(iter(accuracies(metrics)), "")
        return name, metrics.get(name)

    def job_return(self, error: Exception | None) -> SweepRunReturn:
        """Return its metric for a sweeper; ``error`` is raised instead where the run has not finished."""
        if self.status == "finished":
            return SweepRunReturn(self.overrides, status=JobStatus.COMPLETED, _return_value=self.metric()[1])
        return SweepRunReturn(self.overrides, status=JobStatus.FAILED, _return_value=error)


def merge_duplicates(runs: list[SweepRun]) -> list[SweepRun]:
    """Return the runs, with one object for equal runs: a search may draw a value twice.

    Raises
    ------
    ConfigError
        If different runs have the same folder.
    """
    seen: dict[str, SweepRun] = {}
    for run in runs:
        first = seen.setdefault(str(run.folder.path.absolute()), run)
        if plain_config(first.config) != plain_config(run.config):
            raise ConfigError(
                f"log.run={run.config.log.run!r}: two runs of the sweep have the same folder, '{run.folder.path}': "
                f"{' '.join(first.overrides)} and {' '.join(run.overrides)}; leave log.run out to name runs by their overrides"
            )
    return [seen[str(run.folder.path.absolute())] for run in runs]


def last_line(path: Path) -> str:
    """Return the last line of a file that is not blank."""
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "no output")
