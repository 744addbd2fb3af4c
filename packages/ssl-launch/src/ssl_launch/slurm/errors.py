"""The error of a job, as whoever has submitted it sees it."""

from ssl_core.errors import RunError


class JobError(RunError):
    """A job has failed, or SLURM has refused it; it can be pickled.

    Parameters
    ----------
    sentence : str
        What has happened, and where the rest stands.
    exit_code : int
        That of the error in the job, where there was one.
    """

    def __init__(self, sentence: str, exit_code: int = 1) -> None:
        super().__init__(sentence, exit_code)
        self.exit_code = exit_code

    def __str__(self) -> str:
        return str(self.args[0])
