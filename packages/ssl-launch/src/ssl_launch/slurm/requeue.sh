# Requeues the job when its processes were stopped or killed. submitit puts this text into the batch script, before `srun`;
# `end_job EXIT_CODE` comes after it. sbatch_script.py sets these variables above:
#   folder              folder of the job; %j stands for its number
#   all_checkpoints     array: folder of the checkpoints, for each element of a job array; empty without checkpoints
#   notice_s            seconds before the time limit at which SLURM sends a signal
#   time_limit_s        time limit of the job, in seconds
#   max_num_timeout, max_num_crashes   allowed restarts after the time limit, and after a killed process

# In one element of an array, SLURM_JOB_ID may be the number of the array, and then means all elements.
job=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}
restarts=${folder//%j/$job}/restarts # one line for each restart: its reason
checkpoints=${all_checkpoints[${SLURM_ARRAY_TASK_ID:-0}]}

newest_checkpoint() { ls "$checkpoints" 2>/dev/null | grep '^step_.*[.]pt$' | tail -n 1; }
first_checkpoint=$(newest_checkpoint)

give_up() { # why
    echo "ssl-launch: job $job is not requeued: $1" >&2
    scontrol update JobId=$job "Comment=ssl-launch, exit code 1: not requeued: $1" # read by errors.py
}

requeue() { # timeout, preempted or killed
    local state reason=$1 key= limit= count
    state=$(squeue -h -j $job -o %T) || state=RUNNING # an old squeue may fail; then ask scontrol all the same
    [ "$state" = RUNNING ] || return                  # cancelled, or requeued by SLURM already
    case $1 in
        timeout)
            key=max_num_timeout limit=$max_num_timeout
            if [ -n "$checkpoints" ] && [ "$(newest_checkpoint)" = "$first_checkpoint" ]; then
                reason="timeout without a newer checkpoint"
            fi
            ;;
        killed) key=max_num_crashes limit=$max_num_crashes ;;
    esac
    count=$(($(grep -c "^$1" "$restarts" 2>/dev/null) + 1))
    if [ "$reason" != "$1" ] && [ "$(tail -n 1 "$restarts" 2>/dev/null)" = "$reason" ]; then
        give_up "$reason, twice in a row; increase hydra.launcher.timeout_min, or decrease log.checkpoint_every_minutes"
    elif [ -n "$limit" ] && [ $count -gt $limit ]; then
        give_up "$1 $count times, hydra.launcher.$key=$limit"
    elif ! echo "$reason" >>"$restarts" && [ -n "$limit" ]; then # without a count it would restart for ever
        give_up "$1, and '$restarts' cannot be written"
    else
        echo "ssl-launch: job $job is requeued: $reason, restart $count for this reason" >&2
        for _ in 1 2 3 4 5 6; do scontrol requeue $job && break || sleep 10; done
    fi
}

seconds_left() { # from [D-][[HH:]MM:]SS; empty where SLURM gives no number
    squeue -h -j $job -o %L |
        awk -F'[-:]' 'NF > 1 { print $NF + 60 * $(NF-1) + (NF > 2 ? 3600 * $(NF-2) : 0) + (NF > 3 ? 86400 * $1 : 0) }'
}

# At the time limit SLURM ends this shell too. A job whose step or save takes longer than the notice is requeued before.
watch_time_limit() {
    local left pause spare=$((notice_s / 2 < 20 ? notice_s / 2 : 20))
    trap 'kill $! 2>/dev/null; exit' TERM # ends the sleep, which would outlive the job
    while true; do
        left=$(seconds_left)
        pause=$((${left:-$((60 + spare))} - spare))
        [ $pause -gt 0 ] || break
        sleep $((pause < 600 ? pause : 600)) >/dev/null 2>&1 & # an operator may change the time limit
        wait $!
    done
    requeue timeout
}

end_job() { # exit code of the processes
    case $1 in
        75 | 138 | 140 | 143) # ssl_core.errors.Preempted; ended by USR1, USR2 or TERM before they were handled
            # SLURM may send its signal up to 60 s too early
            if [ $SECONDS -ge $((time_limit_s - notice_s - 60)) ]; then requeue timeout; else requeue preempted; fi
            ;;
        135 | 137) requeue killed ;; # BUS or KILL: out of memory, or by an operator
    esac
    exit $1
}

watch_time_limit &
watch=$!
trap : TERM USR1 USR2 # this shell outlives its processes, to see how they end
