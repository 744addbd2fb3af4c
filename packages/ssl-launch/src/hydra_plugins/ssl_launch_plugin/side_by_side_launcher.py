"""``hydra/launcher=side_by_side``: the runs of a sweep on this machine, each in a separate process."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from ssl_core.distributed.launch_environment import LaunchEnvironment
from ssl_core.errors import ConfigError, Preempted, RunError
from ssl_core.run.environment import check_parallelism
from ssl_launch.sweep.runner import Sweep, WorkerSlot, sweep_table
from ssl_launch.sweep.sweep_run import SweepRun

_SWEEP_KEYS = ("hydra/launcher", "hydra.launcher", "hydra/sweeper", "hydra.sweeper", "hydra.mode", "hydra.sweep.")


@dataclass
class SideBySideConf:
    """Options of the default launcher of ``-m``."""

    _target_: str = "hydra_plugins.ssl_launch_plugin.side_by_side_launcher.SideBySideLauncher"
    n_jobs: int | None = None  # runs at a time; null: as many as the GPUs allow, one without GPUs
    tasks_per_node: int = 1  # processes of one run, started by torchrun, each with a GPU if there are any
    retry_failed: bool = False  # start runs again that failed in an earlier sweep


class SideBySideLauncher(Launcher):
    """Run the runs of a sweep in separate processes, ``n_jobs`` at a time."""

    config: DictConfig
    hydra_context: HydraContext
    task_function: Any

    def __init__(self, n_jobs: int | None, tasks_per_node: int, retry_failed: bool) -> None:
        self.n_jobs = n_jobs
        self.tasks_per_node = tasks_per_node
        self.retry_failed = retry_failed
        self._runs: list[SweepRun] = []  # of all batches of the sweeper

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store what Hydra provides."""
        self.config, self.hydra_context, self.task_function = config, hydra_context, task_function

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Validate all runs, start them, print a table, and return the metric or the error of each run."""
        self._check_processes()
        runs = SweepRun.compose(self, job_overrides, initial_job_idx)
        self._runs += runs
        sweep = Sweep(self._command(), WorkerSlot.divide(*self._resources(runs)))
        sweep.run(runs, self.retry_failed)
        print("", sweep_table(self._runs).to_text(), sep="\n", flush=True)
        if sweep.stopped_by == signal.SIGINT:
            raise KeyboardInterrupt
        if sweep.stopped_by is not None:
            name = signal.Signals(sweep.stopped_by).name
            raise Preempted(f"the sweep was stopped by {name}; its runs are saved; rerun the same command to resume")
        missing = sum(run.status != "finished" for run in runs)
        error = RunError(f"{missing} of {len(runs)} runs of the sweep did not finish; see their output.log")
        return [run.job_return(error) for run in runs]

    def _check_processes(self) -> None:
        """Raise a ConfigError for too many processes, and if torchrun or srun has started this sweep several times."""
        for key in ("n_jobs", "tasks_per_node"):
            check_parallelism(f"hydra.launcher.{key}", getattr(self, key) or 1)
        ranks = LaunchEnvironment.read().world_size
        if ranks > 1:
            raise ConfigError(
                f"-m: this is one of {ranks} processes, and each would start the whole sweep; start it once, with "
                f"hydra.launcher.tasks_per_node={ranks}, or with hydra/launcher=submitit_slurm"
            )

    def _command(self) -> list[str]:
        """Return the user's command without the options of the sweep; torchrun starts a run of several processes."""
        program = list(self.task_function.command)
        if self.tasks_per_node > 1:
            torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(self.tasks_per_node)]
            program[1:1] = torchrun  # after python, before the script
        kept = [each for each in self.config.hydra.overrides.hydra if not each.lstrip("+~").startswith(_SWEEP_KEYS)]
        return [*program, *kept, "hydra/launcher=basic", "hydra.mode=RUN"]

    def _resources(self, runs: list[SweepRun]) -> tuple[int, list[str], int]:
        """Return the number of runs at a time, the GPUs of this machine, and the number of GPUs of each run."""
        gpus: list[str] = []
        if any(run.config.hardware.device != "cpu" for run in runs):
            from ssl_core.distributed.ranks import visible_gpus  # imports torch

            gpus = visible_gpus()
        if len(gpus) < self.tasks_per_node:
            gpus = []
        return self.n_jobs or max(1, len(gpus) // self.tasks_per_node), gpus, self.tasks_per_node


ConfigStore.instance().store(group="hydra/launcher", name="side_by_side", node=SideBySideConf, provider="ssl_launch")
