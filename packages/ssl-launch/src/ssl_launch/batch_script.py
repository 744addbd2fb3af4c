"""The shell around the processes of a SLURM job: it decides whether the job comes back.

A run that is told to stop saves its state at the next step boundary, and all of its ranks leave with the exit code of
:class:`ssl_core.errors.Preempted`. Only then, here, is the job queued again: no rank is left behind, no node has to be drained.
A run that ends by its own error leaves with another code, and its job stays ended.
"""

import shlex

from ssl_core.errors import Preempted

BEFORE = ["trap : TERM USR1 USR2  # the shell outlives what stops its processes, to see how they end"]
SLACK_S = 60  # by so much SLURM may tell a job too early that its time will be up
STOPPED = (Preempted.exit_code, 128 + 10, 128 + 12, 128 + 15)  # by itself; by USR1, USR2, TERM before it could answer
KILLED = (128 + 7, 128 + 9)  # BUS (memory that is not there), KILL (no memory left, an operator)


def after(folder: str, timeout_min: int, signal_delay_s: int, max_num_timeout: int, max_num_crashes: int) -> list[str]:
    """Return the lines that follow the one that runs the processes.

    Parameters
    ----------
    folder : str
        Where the job's files are; ``%j`` stands for its number, or for its array's and its own in it.
    timeout_min : int
        Minutes that the job has.
    signal_delay_s : int
        Seconds before their end that it is told.
    max_num_timeout, max_num_crashes : int
        How often it comes back after its time was up, and after a process of it was killed. An eviction never counts.
    """
    home = "$job".join(shlex.quote(part) if part else "" for part in folder.split("%j"))
    out_of_time = 60 * timeout_min - signal_delay_s - SLACK_S
    return [
        "code=$?",
        # Not SLURM_JOB_ID: in one element of an array it is the number of the array, and means all of them
        "job=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}",
        "why=",
        "case $code in",
        f"  {'|'.join(map(str, STOPPED))}) if [ $SECONDS -ge {out_of_time} ]",
        f"    then why=timeout most={max_num_timeout} key=max_num_timeout; else why=preempted most=; fi;;",
        f"  {'|'.join(map(str, KILLED))}) why=killed most={max_num_crashes} key=max_num_crashes;;",
        "esac",
        'if [ -n "$why" ]; then',
        "  state=$(squeue -h -j $job -o %T) || state=RUNNING  # another state: cancelled, or SLURM requeues it",
        '  if [ "$state" = RUNNING ]; then',
        f'    echo "$why" >> {home}/restarts',
        f'    times=$(grep -c "$why" {home}/restarts)',
        '    if [ -n "$most" ] && [ "$times" -gt "$most" ]; then',
        '      echo "ssl-launch: job $job is given up: $why $times times, hydra.launcher.$key=$most" >&2',
        "    else",
        '      echo "ssl-launch: job $job is queued again: $why, $times times by now" >&2',
        "      for attempt in 1 2 3 4 5 6; do scontrol requeue $job && break; sleep 10; done",
        "    fi",
        "  fi",
        "fi",
        "exit $code",
    ]
