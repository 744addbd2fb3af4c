"""Requeue logic of a batch script: the shell in ``requeue.sh``, and the variables that it reads."""

import importlib.resources
import shlex
from collections.abc import Sequence


def setup(
    folder: str,
    checkpoints: Sequence[str],
    timeout_min: int,
    signal_delay_s: int,
    max_num_timeout: int,
    max_num_crashes: int,
) -> list[str]:
    """Return the lines of the batch script before its processes are started.

    Parameters
    ----------
    folder : str
        Folder of the job; ``%j`` stands for its number (``7``, or ``7_1`` in an array).
    checkpoints : sequence of str
        Folder of the checkpoints, for each element of an array. Empty: the job writes no checkpoints.
    timeout_min : int
        Time limit of the job, in minutes.
    signal_delay_s : int
        Seconds before the time limit at which SLURM sends a signal.
    max_num_timeout, max_num_crashes : int
        Allowed restarts after the time limit, and after a killed process. Preemptions are not counted.
    """
    variables = {"notice_s": signal_delay_s, "time_limit_s": 60 * timeout_min}
    variables |= {"max_num_timeout": max_num_timeout, "max_num_crashes": max_num_crashes}
    return [
        f"folder={shlex.quote(folder)}",
        f"all_checkpoints=({shlex.join(checkpoints)})",
        *(f"{name}={value}" for name, value in variables.items()),
        importlib.resources.files(__package__).joinpath("requeue.sh").read_text(),
    ]


def teardown(lines: Sequence[str] = ()) -> list[str]:
    """Return the lines after the processes have ended: the user's, then whether the job is requeued."""
    return ["code=$?", "kill $watch 2>/dev/null", *lines, "end_job $code"]
