"""Why a job has failed, left with SLURM itself where its folder takes nothing any more: a full disk, a killed process.

It is the comment of the job: ``scontrol show job``, ``squeue -o %k``, and ``sacct -o Comment`` where the cluster keeps it.
"""

import contextlib
import re
import subprocess

from ssl_launch.slurm.errors import JobError

_COMMENT = "ssl-launch, exit code {code}: {sentence}"
_OURS = re.compile(_COMMENT.format(code=r"(?P<code>\d+)", sentence="(?P<sentence>.+)"))  # it may also be its owner's


def write(job: str, sentence: str, code: int) -> None:
    """Leave a sentence of a job (``7``, or ``7_1`` of an array) that fails with this exit code."""
    said = _COMMENT.format(code=code, sentence=" ".join(sentence.split()))
    command = ["scontrol", "update", f"JobId={job}", f"Comment={said}"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(command, capture_output=True, timeout=60)


def shell_command(job: str, sentence: str) -> str:
    """Return the line of shell that leaves a sentence, both with variables of the shell in them, and exit code 1."""
    return f'scontrol update JobId={job} "Comment={_COMMENT.format(code=1, sentence=sentence)}"'


def read(job: str) -> JobError | None:
    """Return what a job has left, or None. SLURM remembers it for some minutes after the job (``MinJobAge``)."""
    command = ["squeue", "--noheader", "--states=all", "--jobs", job, "--format=%k"]
    said = subprocess.run(command, capture_output=True, text=True).stdout
    found = _OURS.match(said)
    return JobError(f"job {job}: {found['sentence'].strip()}", int(found["code"])) if found else None
