"""Error of a SLURM job, and the comment of the job that carries it when the folder of the job cannot be written.

A process that was killed, or whose disk is full, leaves no result file. The reason is then in the comment of the job:
``scontrol show job``, ``squeue -o %k``, and ``sacct -o Comment`` where the cluster stores it.
"""

import contextlib
import re
import subprocess

from ssl_core.errors import RunError

COMMENT = re.compile(r"ssl-launch, exit code (\d+): (.+)")  # also written by requeue.sh


class JobError(RunError):
    """A job has failed, or SLURM has rejected it. Can be pickled.

    Parameters
    ----------
    sentence : str
        What has happened, and where the log is.
    exit_code : int
        Exit code of the error in the job.
    """

    def __init__(self, sentence: str, exit_code: int = 1) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


def write_comment(job: str, sentence: str, exit_code: int) -> None:
    """Set the comment of a job (``7``, or ``7_1`` in an array)."""
    comment = f"ssl-launch, exit code {exit_code}: {' '.join(sentence.split())}"
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        command = ["scontrol", "update", f"JobId={job}", f"Comment={comment}"]
        subprocess.run(command, capture_output=True, timeout=60)


def read_comment(job: str) -> JobError | None:
    """Return the error in the comment of a job, or None. SLURM keeps it for some minutes after the job (``MinJobAge``)."""
    command = ["squeue", "--noheader", "--states=all", "--jobs", job, "--format=%k"]
    found = COMMENT.match(subprocess.run(command, capture_output=True, text=True).stdout)
    return JobError(f"job {job}: {found[2].strip()}", int(found[1])) if found else None
