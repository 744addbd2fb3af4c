"""The keys ``hydra.launcher.<key>`` of ``hydra/launcher=submitit_slurm``: submitit's, and what ours has beside them."""

from dataclasses import dataclass

from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf

LONGEST_DELAY_S = 120  # seconds that a run is given to save its state


@dataclass
class SlurmConf(SlurmQueueConf):
    """What SLURM is asked for; ``sbatch --help`` explains the keys that it shares with us."""

    _target_: str = "hydra_plugins.ssl_launch_plugin.slurm_launcher.SlurmLauncher"

    signal_delay_s: int | None = None  # seconds before its end that a run is told; null: 120, or a quarter of its time
    max_num_timeout: int = 100  # times that a job comes back because its time was up; it goes on where it was
    max_num_crashes: int = 3  # times that it comes back because a process was killed: a bad node, no memory left
    evaluate: str | None = None  # a protocol: what was trained is judged by it, in jobs behind those of the training


def signal_delay_s(given: int | None, timeout_min: int) -> int:
    """Return how many seconds before its end a job is told.

    Examples
    --------
    >>> signal_delay_s(None, 60), signal_delay_s(None, 3), signal_delay_s(300, 3)
    (120, 45, 300)
    """
    return min(LONGEST_DELAY_S, 15 * timeout_min) if given is None else given
