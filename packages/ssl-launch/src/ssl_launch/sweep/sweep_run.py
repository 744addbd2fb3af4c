"""One run of a sweep: what it is, where it is, how it stands."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from ssl_core.config import Config
from ssl_core.errors import RunFolderError
from ssl_core.run.folder import RunFolder, plain_config, resume_overridable_keys
from ssl_eval.metric_names import in_order, is_accuracy


@dataclass
class SweepRun:
    """One run of a sweep. Passive: :class:`ssl_launch.sweep.runner.Sweep` starts it and waits for it.

    Attributes
    ----------
    overrides : list of str
        All that the command line said of it, the values of the sweep among them.
    config : Config
        Assembled, and thereby known to be valid.
    status : str
        ``waiting``; while it runs ``running``; then ``finished``, ``preempted``, ``interrupted`` or ``failed``.
    error : str
        One line for a member that has failed.
    """

    overrides: list[str]
    config: Config
    status: str = "waiting"
    error: str = ""

    @classmethod
    def all(
        cls, task: Any, loader: Any, config: DictConfig, job_overrides: Sequence[Sequence[str]], first: int
    ) -> "list[SweepRun]":
        """Return the members of a sweep, of which the first has this number; whatever would be refused in one is refused here.

        Parameters
        ----------
        task : Callable
            What Hydra calls for a member; its ``configured`` makes the configuration.
        loader, config
            What Hydra composes a member with.
        job_overrides : sequence of sequence of str
            Of each member.
        first : int
            The number of the first.

        Raises
        ------
        ConfigError
            As ``configured``.
        """
        members = []
        for number, overrides in enumerate(job_overrides, start=first):
            composed = loader.load_sweep_config(config, list(overrides))
            with open_dict(composed):
                composed.hydra.job.id = composed.hydra.job.num = number
            HydraConfig.instance().set_config(composed)  # for what is interpolated from it
            members.append(cls(list(composed.hydra.overrides.task), task.configured(composed)))
        return members

    @property
    def folder(self) -> RunFolder:
        """The run folder."""
        return RunFolder.of(self.config)

    def check_same_config(self) -> None:
        """Raise a RunFolderError if its folder holds another run."""
        self.folder.check_same_config(plain_config(self.config), resume_overridable_keys(self.config))

    def look(self, retry_failed: bool) -> None:
        """Find what an earlier sweep has left: the finished need nothing, the failed are tried again if asked.

        Everything else is to be started, and goes on where it stopped.
        """
        earlier = self.folder.read_summary()
        if earlier.get("status") not in ("finished", "failed"):
            return
        try:
            self.check_same_config()
        except RunFolderError:
            return  # it is another run's; started, it says so in words
        if earlier["status"] == "finished":
            self.status = "finished"
        elif not retry_failed:
            self.status = "failed"
            self.error = (
                f"in an earlier sweep (hydra.launcher.retry_failed=true tries it again): {earlier.get('error', '')}"
            )

    def end(self, code: int) -> None:
        """Take over how its process ended."""
        stopped = {75: "preempted", 130: "interrupted"}
        summary = self.folder.read_summary()
        saved = summary.get("status") == "preempted"  # torchrun has exit codes of its own
        self.status = "finished" if code == 0 else stopped.get(code, "preempted" if saved else "failed")
        if self.status == "failed":
            said = summary.get("error") or last_line(self.folder.output)
            self.error = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}: {said}"

    def metric(self) -> tuple[str, float | None]:
        """Return name and last value of what it is judged by: ``optim.monitor``, else the first accuracy."""
        metrics = self.folder.read_summary().get("metrics", {})
        name = self.config.optim.monitor or next(iter(in_order(set(filter(is_accuracy, metrics)))), "")
        return name, metrics.get(name)


def last_line(path: Path) -> str:
    """Return the last line of a file that says anything, or a sentence where there is none."""
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
