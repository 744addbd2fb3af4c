"""What a sweeper is told of a member, whichever launcher has run it."""

from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from ssl_launch.sweep.sweep_run import SweepRun


class SweepRunReturn(JobReturn):
    """The value of its metric, or the error."""

    @classmethod
    def of(cls, member: SweepRun, error: Any) -> "SweepRunReturn":
        """Return that of a member that has ended; ``error`` is raised to whoever asks for the value of one that failed."""
        done = member.status == "finished"
        returned = cls(overrides=member.overrides, status=JobStatus.COMPLETED if done else JobStatus.FAILED)
        returned.return_value = member.metric()[1] if done else error
        return returned

    @property
    def return_value(self) -> Any:
        """Return the value, or raise; Hydra's own would print a line as well, and the table has said it."""
        if self.status is JobStatus.COMPLETED:
            return self._return_value
        raise self._return_value

    @return_value.setter
    def return_value(self, value: Any) -> None:
        self._return_value = value
