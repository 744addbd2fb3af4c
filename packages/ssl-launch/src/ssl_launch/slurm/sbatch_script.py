"""The shell around the processes of a SLURM job: it decides whether the job comes back.

A run that is told to stop saves its state at the next step boundary, and all of its ranks leave with the exit code of
:class:`ssl_core.errors.Preempted`. Only then, here, is the job queued again: no rank is left behind, no node has to be drained.
A run that ends by its own error leaves with another code, and its job stays ended.

Where the time runs out on a step, or on a save, nothing would be left to decide: SLURM ends this shell with the job. So a watch
queues the job again just before; it goes on from its last checkpoint. A job that twice in a row has no newer one than it began
with is given up: it would come no further by coming back.
"""

import shlex
from collections.abc import Sequence

from ssl_core.errors import Preempted
from ssl_launch.slurm import job_comment

SLACK_S = 60  # by so much SLURM may tell a job too early that its time will be up
SPARE_S = 20  # before the end of its time a job is queued again, whatever it does
LONGEST_SLEEP_S = 600  # between two looks at the time that is left: an operator may have changed it
STOPPED = (Preempted.exit_code, 128 + 10, 128 + 12, 128 + 15)  # by itself; by USR1, USR2, TERM before it could answer
KILLED = (128 + 7, 128 + 9)  # BUS (memory that is not there), KILL (no memory left, an operator)
STUCK = "timeout without a newer checkpoint"
_LEFT = (
    """awk -F'[-:]' 'NF > 1 { print $NF + 60 * $(NF-1) + (NF > 2 ? 3600 * $(NF-2) : 0) + (NF > 3 ? 86400 * $1 : 0) }'"""
)


def before(
    folder: str, checkpoints: Sequence[str], signal_delay_s: int, max_num_timeout: int, max_num_crashes: int
) -> list[str]:
    """Return the lines in front of the one that runs the processes.

    Parameters
    ----------
    folder : str
        Where the job's files are; ``%j`` stands for its number, or for its array's and its own in it.
    checkpoints : sequence of str
        The folder of the checkpoints that the job writes; of each element of an array. None: it writes none.
    signal_delay_s : int
        Seconds before its end that the job is told.
    max_num_timeout, max_num_crashes : int
        How often it comes back after its time was up, and after a process of it was killed. An eviction never counts.
    """
    home = "$job".join(shlex.quote(part) if part else "" for part in folder.split("%j"))
    spare = min(SPARE_S, signal_delay_s // 2)
    return [
        # Not SLURM_JOB_ID: in one element of an array it is the number of the array, and means all of them
        "job=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}",
        f"restarts={home}/restarts",
        f"all=({shlex.join(checkpoints)})",
        "checkpoints=${all[${SLURM_ARRAY_TASK_ID:-0}]}",
        "newest() { ls \"$checkpoints\" 2>/dev/null | grep '^step_.*[.]pt$' | tail -n 1; }",
        "begun=$(newest)",
        "give_up() {  # why",
        '  echo "ssl-launch: job $job is given up: $1" >&2',
        "  " + job_comment.shell_command("$job", "it is given up: $1"),
        "}",
        "come_back() {  # timeout, preempted or killed",
        "  state=$(squeue -h -j $job -o %T) || state=RUNNING  # another: cancelled, or SLURM requeues it",
        '  [ "$state" = RUNNING ] || return',
        "  most= line=$1",
        "  case $1 in",
        f"    timeout) most={max_num_timeout} key=max_num_timeout",
        f'      [ -z "$checkpoints" ] || [ "$(newest)" != "$begun" ] || line="{STUCK}";;',
        f"    killed) most={max_num_crashes} key=max_num_crashes;;",
        "  esac",
        '  times=$(($(grep -c "$1" "$restarts" 2>/dev/null) + 1))',
        '  if [ "$line" != "$1" ] && [ "$(tail -n 1 "$restarts" 2>/dev/null)" = "$line" ]; then',
        '    give_up "$line, twice in a row; it needs more time (hydra.launcher.timeout_min) or more checkpoints'
        ' (log.checkpoint_every_minutes)"',
        '  elif [ -n "$most" ] && [ $times -gt $most ]; then',
        '    give_up "$1 $times times, hydra.launcher.$key=$most"',
        '  elif ! echo "$line" >> "$restarts" && [ -n "$most" ]; then  # it would come back for ever',
        "    give_up \"$1, and how often cannot be written to '$restarts'\"",
        "  else",
        '    echo "ssl-launch: job $job is queued again: $line, $times times by now" >&2',
        "    for attempt in 1 2 3 4 5 6; do scontrol requeue $job && break; sleep 10; done",
        "  fi",
        "}",
        "watch() {",
        "  trap 'kill $! 2>/dev/null; exit' TERM  # of the sleep, which would outlive the job",
        "  while true; do",
        f"    left=$(squeue -h -j $job -o %L | {_LEFT})",
        f"    pause=$((${{left:-{60 + spare}}} - {spare}))",
        "    [ $pause -gt 0 ] || break",
        f"    sleep $((pause < {LONGEST_SLEEP_S} ? pause : {LONGEST_SLEEP_S})) >/dev/null 2>&1 &",
        "    wait $!",
        "  done",
        "  come_back timeout",
        "}",
        "watch &",
        "watching=$!",
        "trap : TERM USR1 USR2  # the shell outlives what stops its processes, to see how they end",
    ]


def after(timeout_min: int, signal_delay_s: int) -> list[str]:
    """Return the lines that follow the one that runs the processes.

    Parameters
    ----------
    timeout_min : int
        Minutes that the job has.
    signal_delay_s : int
        As in :func:`before`.
    """
    out_of_time = 60 * timeout_min - signal_delay_s - SLACK_S
    return [
        "code=$?",
        "kill $watching 2>/dev/null",
        "case $code in",
        f"  {'|'.join(map(str, STOPPED))}) come_back $([ $SECONDS -ge {out_of_time} ] && echo timeout || echo preempted);;",
        f"  {'|'.join(map(str, KILLED))}) come_back killed;;",
        "esac",
        "exit $code",
    ]
