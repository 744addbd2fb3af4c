"""Our defaults of Hydra's own configuration. YAML files and the command line override them."""

from typing import Any

from hydra.conf import HydraConf
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra_plugins.hydra_submitit_launcher.config import LocalQueueConf
from omegaconf import OmegaConf

from ssl_eval.metrics.registry import metric_of
from ssl_launch.hydra_app.target_allowlist import check_every_configuration
from ssl_launch.slurm.config import SlurmConf

HERE = ("basic", "side_by_side")  # launchers that run a command without -m in this process


def register_defaults(job_name: str, help_text: str, launcher: str = "side_by_side") -> None:
    """Store Hydra's own configuration with our defaults.

    - A named launcher submits without ``-m``, and a grid in a file (``hydra.sweeper.params``) or a named sweeper is a sweep
      without ``-m``: Hydra's mode follows from them. Hydra 1.3 would silently run one job here.
    - A sweep without a named launcher uses ``launcher``.
    - Hydra creates no folders: the run creates its own.
    - A target that is not on the allowlist is an error.
    - A job that SLURM stops is requeued until it has finished: its state is on disk.
    """
    OmegaConf.register_new_resolver("mode_of_command", _mode_of_command, replace=True)
    ours: Any = HydraConf()
    ours.mode = "${mode_of_command:}"
    ours.run.dir = "."
    ours.sweep.dir = "${oc.select:log.folder,outputs}"
    ours.sweep.subdir = "."
    ours.output_subdir = None
    ours.job.name = job_name
    ours.help.template = help_text
    ours.defaults = [_replaced(entry, launcher) for entry in ours.defaults]
    store = ConfigStore.instance()
    store.store(group="hydra", name="config", node=ours, provider="ssl_launch")
    Plugins.instance()  # its scan would overwrite what is stored now
    slurm, local = SlurmConf(), LocalQueueConf()
    store.store(group="hydra/launcher", name="submitit_slurm", node=slurm, provider="ssl_launch")
    store.store(group="hydra/launcher", name="submitit_local", node=local, provider="ssl_launch")
    _register_optuna(store)
    check_every_configuration()


def _register_optuna(store: ConfigStore) -> None:
    """Configure Optuna, if it is installed: the direction of the metric, and the same suggestions after a restart."""
    try:
        from hydra_plugins.hydra_optuna_sweeper import config as optuna
    except ImportError:
        return
    OmegaConf.register_new_resolver("direction_of_monitor", _direction_of_monitor, replace=True)
    sweeper = optuna.OptunaSweeperConf(
        _target_="hydra_plugins.ssl_launch_plugin.optuna_sweeper.Search", direction="${direction_of_monitor:}"
    )
    store.store(group="hydra/sweeper", name="optuna", node=sweeper, provider="ssl_launch")
    for name, sampler in (("tpe", optuna.TPESamplerConfig), ("random", optuna.RandomSamplerConfig)):
        store.store(group="hydra/sweeper/sampler", name=name, node=sampler(seed=0), provider="ssl_launch")


def _direction_of_monitor(*, _root_: Any) -> str:
    monitor = str(OmegaConf.select(_root_, "optim.monitor"))
    return "maximize" if metric_of(monitor).higher_is_better else "minimize"


def _replaced(entry: Any, launcher: str) -> Any:
    """Log to the terminal, not into a file; sweep with our launcher."""
    ours = {"job_logging": "stdout", "launcher": launcher}
    return {name: ours.get(name, choice) for name, choice in entry.items()} if isinstance(entry, dict) else entry


def _mode_of_command(*, _root_: Any) -> str | None:
    """Return MULTIRUN for a launcher that submits, a named sweeper or a grid in a file; None leaves it to ``-m``."""
    choices = _root_.hydra.runtime.choices
    submits = choices.get("hydra/launcher") not in (None, *HERE)
    sweeps = choices.get("hydra/sweeper") not in (None, "basic") or _root_.hydra.sweeper.get("params")
    return "MULTIRUN" if submits or sweeps else None
