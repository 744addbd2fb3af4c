"""Our settings of Hydra, below those of any YAML or command line."""

from typing import Any

from hydra.conf import HydraConf
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra_plugins.hydra_submitit_launcher.config import LocalQueueConf, SlurmQueueConf
from omegaconf import OmegaConf

from ssl_launch.allowed_targets import check_every_configuration

HELP = """Train: ${hydra.job.name} [--config-name=NAME] [group.key=value ...] [-m group.key=a,b,c]

  group.key=value    a key that the configuration file has; +group.key for one that it has not; ++group.key for both
  groups             data, model, optim, hardware, log; defaults and meaning, one comment a field, stand in the
                     dataclasses of ssl_core/config.py and ssl_data/config.py
  -m                 one run for each combination of the values that are separated by commas
  hydra/launcher=    submitit_slurm (a cluster), submitit_local (processes of this machine); hydra.launcher.KEY=value
  --cfg job          print the composed configuration and stop
"""


def register_defaults(job_name: str) -> None:
    """Store Hydra's own configuration with our defaults.

    - A launcher that is named submits without ``-m``: Hydra's mode follows from the launcher. Hydra 1.3 would run the
      job here, silently.
    - Hydra makes no folders of its own: a run is a folder, and the run makes it.
    - What a configuration names for Hydra to call is on our list, or refused.
    - A job that SLURM stops comes back as often as it takes: its state is on the disk.
    """
    OmegaConf.register_new_resolver("mode_of_launcher", _mode_of_launcher, replace=True)
    ours: Any = HydraConf()
    ours.mode = "${mode_of_launcher:}"
    ours.run.dir = "."
    ours.sweep.dir = "${oc.select:log.folder,outputs}"
    ours.sweep.subdir = "."
    ours.output_subdir = None
    ours.job.name = job_name
    ours.help.template = HELP
    ours.defaults = [_replaced(entry) for entry in ours.defaults]
    store = ConfigStore.instance()
    store.store(group="hydra", name="config", node=ours, provider="ssl_launch")
    Plugins.instance()  # its scan would overwrite what is stored now
    slurm, local = SlurmQueueConf(max_num_timeout=100), LocalQueueConf()
    store.store(group="hydra/launcher", name="submitit_slurm", node=slurm, provider="ssl_launch")
    store.store(group="hydra/launcher", name="submitit_local", node=local, provider="ssl_launch")
    check_every_configuration()


def _replaced(entry: Any) -> Any:
    """Log to the terminal, not into a file of Hydra's."""
    return {"job_logging": "stdout"} if isinstance(entry, dict) and "job_logging" in entry else entry


def _mode_of_launcher(*, _root_: Any) -> str | None:
    """Return MULTIRUN for a launcher that submits. None leaves the choice to ``-m``."""
    launcher = _root_.hydra.runtime.choices.get("hydra/launcher")
    return None if launcher in (None, "basic") else "MULTIRUN"
