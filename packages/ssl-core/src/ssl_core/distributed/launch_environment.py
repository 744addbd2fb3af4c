"""The ranks of a run as the launcher describes them: environment variables of ``torchrun`` or of a SLURM step.

The variables are checked before anything waits for another rank: an incomplete or contradictory environment is one error that
names the variable. No torch is imported here.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from ssl_core.errors import ConfigError


@dataclass(frozen=True)
class LaunchEnvironment:
    """Position of this process among the ranks of the run.

    ``local_rank`` is its number on its machine. ``slurm_step`` is ``JOB_STEP`` if the ranks are the tasks of a SLURM step, and
    empty if they come from ``torchrun`` or there is one process.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    slurm_step: str = ""

    @classmethod
    def read(cls, variables: Mapping[str, str] = os.environ) -> "LaunchEnvironment":
        """Return the position that the environment variables describe.

        ``RANK``, ``WORLD_SIZE`` and ``LOCAL_RANK`` take precedence over the variables of a SLURM step of several tasks
        (``SLURM_PROCID``, ``SLURM_NTASKS``, ``SLURM_LOCALID``). Without both, the process is rank 0 of 1. Raises a
        ConfigError if a variable is missing, is no number, is out of range, or contradicts another one.
        """
        in_step = "SLURM_STEP_ID" in variables and _number(variables, "SLURM_NTASKS", 1, default=1) > 1
        local_size = _number(variables, "LOCAL_WORLD_SIZE", 1, default=0)
        given = [name for name in ("RANK", "WORLD_SIZE") if variables.get(name)]
        if len(given) == 2:
            found = cls(*_position(variables, "RANK", "WORLD_SIZE", "LOCAL_RANK"))
            if local_size and found.local_rank >= local_size:
                raise ConfigError(
                    key="LOCAL_RANK", value=found.local_rank, expected=f"a number below LOCAL_WORLD_SIZE={local_size}"
                )
            if in_step and "TORCHELASTIC_RUN_ID" not in variables:
                _check_agreement(variables, found)
            return found
        if in_step:
            return cls(*_position(variables, "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"), _slurm_step(variables))
        if given:
            raise _not_set("RANK" if given == ["WORLD_SIZE"] else "WORLD_SIZE", variables, given[0])
        return cls()


def check_one_process(what: str) -> None:
    """Raise a ConfigError if ``what`` was started on several ranks, whose results would overwrite each other."""
    launch = LaunchEnvironment.read()
    if launch.world_size > 1:
        raise ConfigError(
            f"{what} runs in one process: start it without torchrun, and in a SLURM step of one task",
            key="SLURM_NTASKS" if launch.slurm_step else "WORLD_SIZE",
            value=launch.world_size,
            expected="1",
        )


def master_address(variables: Mapping[str, str] = os.environ) -> str:
    """Return ``MASTER_ADDR:MASTER_PORT``, where the ranks of ``torchrun`` meet; raise a ConfigError if one of them is wrong."""
    if not variables.get("MASTER_ADDR"):
        raise _not_set("MASTER_ADDR", variables, "WORLD_SIZE")
    return f"{variables['MASTER_ADDR']}:{_number(variables, 'MASTER_PORT', 1, 65535)}"


def _not_set(name: str, variables: Mapping[str, str], other: str) -> ConfigError:
    reason = (
        f"not set, but {other}={variables.get(other)!r} is; start the ranks with torchrun, or unset {other} to train in"
    )
    return ConfigError(f"{reason} one process", key=name)


def _position(variables: Mapping[str, str], rank: str, world_size: str, local_rank: str) -> tuple[int, int, int]:
    size = _number(variables, world_size, 1)
    bound = f" ({world_size}={size})"
    alone = 0 if size == 1 else None
    return (
        _number(variables, rank, 0, size - 1, bound),
        size,
        _number(variables, local_rank, 0, size - 1, bound, default=alone),
    )


def _number(
    variables: Mapping[str, str],
    name: str,
    low: int,
    high: int | None = None,
    bound: str = "",
    default: int | None = None,
) -> int:
    """Return the value of a variable, or ``default`` if it is not set; without a default it has to be set."""
    text = variables.get(name, "").strip()
    expected = f"a whole number, {f'at least {low}' if high is None else f'from {low} to {high}'}{bound}"
    if not text and default is not None:
        return default
    if not text:
        raise ConfigError("not set", key=name, expected=f"{expected}; torchrun and srun set it for every rank")
    if not text.isascii() or not text.isdigit() or int(text) < low or (high is not None and int(text) > high):
        raise ConfigError(key=name, value=text, expected=expected)
    return int(text)


def _slurm_step(variables: Mapping[str, str]) -> str:
    """Return ``JOB_STEP``. ``SLURM_NTASKS`` of a batch script may be more than the tasks of the step."""
    tasks, step_tasks = variables["SLURM_NTASKS"], _number(variables, "SLURM_STEP_NUM_TASKS", 1, default=0)
    if step_tasks and step_tasks != int(tasks):
        raise ConfigError(
            f"this SLURM step has {step_tasks} tasks (SLURM_STEP_NUM_TASKS); start the ranks with srun --ntasks=N, or unset "
            "SLURM_NTASKS to train in one process",
            key="SLURM_NTASKS",
            value=tasks,
        )
    if not variables.get("SLURM_JOB_ID"):
        raise ConfigError("not set, but SLURM_STEP_ID is; start the ranks with srun", key="SLURM_JOB_ID")
    return f"{variables['SLURM_JOB_ID']}_{variables['SLURM_STEP_ID']}"


def _check_agreement(variables: Mapping[str, str], found: LaunchEnvironment) -> None:
    """Raise if ``RANK`` was exported for all tasks of a SLURM step, which then take themselves for the same rank."""
    task = _number(variables, "SLURM_PROCID", 0, default=found.rank)
    if int(variables["SLURM_NTASKS"]) == found.world_size and task != found.rank:
        raise ConfigError(
            f"this is task {task} of the SLURM step (SLURM_PROCID); unset RANK and WORLD_SIZE to number the ranks as SLURM "
            "does",
            key="RANK",
            value=found.rank,
        )
