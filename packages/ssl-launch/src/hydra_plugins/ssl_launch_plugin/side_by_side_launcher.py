"""The launcher of sweeps on this machine, found by Hydra by its place here; what it does is ``ssl_launch.sweep.runner``."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

_OURS = ("hydra/launcher", "hydra.launcher", "hydra/sweeper", "hydra.sweeper", "hydra.mode", "hydra.sweep.")


@dataclass
class SideBySideConf:
    """``hydra/launcher=side_by_side``, which is what ``-m`` takes where no launcher is named."""

    _target_: str = "hydra_plugins.ssl_launch_plugin.side_by_side_launcher.SideBySideLauncher"
    n_jobs: int | None = None  # members at a time; null: one for each GPU (or tasks_per_node of them), one on the CPU
    tasks_per_node: int = 1  # processes of one member, started by torchrun, each with a GPU where there are any
    retry_failed: bool = False  # try those that have failed before once more


class SideBySideLauncher(Launcher):
    """Runs the members of a sweep in processes of their own, as many at a time as there is room for."""

    config: DictConfig
    hydra_context: HydraContext
    task_function: Any

    def __init__(self, n_jobs: int | None, tasks_per_node: int, retry_failed: bool) -> None:
        self.n_jobs = n_jobs
        self.tasks_per_node = tasks_per_node
        self.retry_failed = retry_failed
        self._members: list[Any] = []  # of all batches that a sweeper has asked for

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives."""
        self.config, self.hydra_context, self.task_function = config, hydra_context, task_function

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Assemble all members, which refuses what is wrong before anything has begun; run them; show how each ended."""
        from ssl_core.errors import ConfigError, Preempted, RunError
        from ssl_core.run.processor import check_parallelism
        from ssl_launch.sweep.member_return import SweepRunReturn
        from ssl_launch.sweep.runner import Sweep, WorkerSlot, share_twins, sweep_table
        from ssl_launch.sweep.sweep_run import SweepRun

        for key in ("n_jobs", "tasks_per_node"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ConfigError(f"hydra.launcher.{key}={value}: expected a whole number, at least 1")
            check_parallelism(f"hydra.launcher.{key}", value or 1)
        _refuse_ranks()
        loader = self.hydra_context.config_loader
        members = share_twins(SweepRun.all(self.task_function, loader, self.config, job_overrides, initial_job_idx))
        self._members += members
        sweep = Sweep(self._command(), WorkerSlot.divide(*self._room(members)))
        sweep.run(members, self.retry_failed)
        print("", sweep_table(self._members).to_text(), sep="\n", flush=True)
        if sweep.stopped_by == signal.SIGINT:
            raise KeyboardInterrupt
        if sweep.stopped_by is not None:
            name = signal.Signals(sweep.stopped_by).name
            raise Preempted(
                f"the sweep was stopped by {name}; its members are saved, and the same command goes on with them"
            )
        wrong = sum(member.status != "finished" for member in members)
        error = RunError(
            f"{wrong} of {len(members)} runs of the sweep did not finish; what each said is in its output.log"
        )
        return [SweepRunReturn.of(member, error) for member in members]

    def _command(self) -> list[str]:
        """Return the user's own command without what is swept; torchrun starts it where a member has several tasks."""
        program = list(self.task_function.command)
        if self.tasks_per_node > 1:
            torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(self.tasks_per_node)]
            program[1:1] = torchrun  # python, then the script
        kept = [each for each in self.config.hydra.overrides.hydra if not each.lstrip("+~").startswith(_OURS)]
        return [*program, *kept, "hydra/launcher=basic", "hydra.mode=RUN"]

    def _room(self, members: list[Any]) -> tuple[int, list[str], int]:
        """Return members at a time, the GPUs there are, and how many of them each takes."""
        gpus: list[str] = []
        if any(member.config.hardware.device != "cpu" for member in members):
            from ssl_core.distributed.ranks import visible_gpus

            gpus = visible_gpus()
        if len(gpus) < self.tasks_per_node:
            gpus = []
        return self.n_jobs or max(1, len(gpus) // self.tasks_per_node), gpus, self.tasks_per_node


def _refuse_ranks() -> None:
    from ssl_core.distributed.launch_environment import LaunchEnvironment
    from ssl_core.errors import ConfigError

    ranks = LaunchEnvironment.read().world_size
    if ranks > 1:
        raise ConfigError(
            f"-m: this is one of {ranks} processes, and each would start the whole sweep; start it once, with "
            f"hydra.launcher.tasks_per_node={ranks}, or with hydra/launcher=submitit_slurm"
        )


ConfigStore.instance().store(group="hydra/launcher", name="side_by_side", node=SideBySideConf, provider="ssl_launch")
