"""Keys ``hydra.launcher.<key>`` of ``hydra/launcher=submitit_slurm``: those of submitit, and ours."""

from dataclasses import dataclass

from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf

MAX_SIGNAL_DELAY_S = 120  # default of signal_delay_s for jobs of 8 minutes or more


@dataclass
class SlurmConf(SlurmQueueConf):
    """Options of a SLURM job. ``sbatch --help`` explains those that are inherited."""

    _target_: str = "hydra_plugins.ssl_launch_plugin.slurm_launcher.SlurmLauncher"

    signal_delay_s: int | None = None  # seconds of notice before the time limit; null: 120, or a quarter of timeout_min
    max_num_timeout: int = 100  # restarts after the time limit; the run resumes from its checkpoint
    max_num_crashes: int = 3  # restarts after a process was killed (out of memory, bad node)
    evaluate: str | None = None  # protocol with which jobs evaluate the runs after training, e.g. standard


def signal_delay_s(value: int | None, timeout_min: int) -> int:
    """Return the seconds of notice before the time limit.

    Examples
    --------
    >>> signal_delay_s(None, 60), signal_delay_s(None, 3), signal_delay_s(300, 3)
    (120, 45, 300)
    """
    return min(MAX_SIGNAL_DELAY_S, 15 * timeout_min) if value is None else value
