"""Check the keys of the group ``hydra``: unknown keys, which ``++`` would add silently, and numbers out of range."""

import dataclasses
from typing import Any

from hydra.conf import HydraConf
from hydra_plugins.hydra_submitit_launcher.config import LocalQueueConf
from omegaconf import DictConfig, OmegaConf
from submitit.slurm.slurm import SlurmExecutor

from hydra_plugins.ssl_launch_plugin.side_by_side_launcher import SideBySideConf
from ssl_core.config.suggestion import unknown_key
from ssl_core.errors import ConfigError
from ssl_launch.slurm.config import SlurmConf

LAUNCHER = "hydra.launcher."
_LAUNCHERS = {"side_by_side": SideBySideConf, "submitit_local": LocalQueueConf, "submitit_slurm": SlurmConf}
_AT_LEAST = {  # key of a launcher -> smallest value
    "timeout_min": 1, "nodes": 1, "tasks_per_node": 1, "cpus_per_task": 1, "cpus_per_gpu": 1, "gpus_per_node": 0,
    "gpus_per_task": 0, "mem_gb": 1, "array_parallelism": 1, "signal_delay_s": 0, "max_num_timeout": 0, "max_num_crashes": 0,
    "n_jobs": 1,
}  # fmt: skip


def check_hydra_keys(config: DictConfig) -> None:
    """Raise for an unknown key of ``hydra`` and for a number of its launcher that is out of range.

    Raises
    ------
    ConfigError
        Naming the key, with the nearest known one or the range.
    """
    hydra = config.get("hydra")
    if not isinstance(hydra, DictConfig):
        return
    _check_keys(hydra, "hydra")
    launcher = hydra.get("launcher") or {}
    for key, least in _AT_LEAST.items():
        value = launcher.get(key)
        if isinstance(value, int) and value < least:
            raise ConfigError(key=f"{LAUNCHER}{key}", value=value, expected=f"an integer, at least {least}")


def unknown_hydra_key(key: str) -> ConfigError:
    """Return the error for a key of ``hydra`` that does not exist, e.g. ``hydra.launcher.n_job``."""
    if not key.startswith(LAUNCHER):
        return unknown_key(key, _names(OmegaConf.structured(HydraConf), "hydra"))
    known = {
        LAUNCHER + field.name: launcher for launcher, conf in _LAUNCHERS.items() for field in dataclasses.fields(conf)
    }
    if key in known:
        return ConfigError(
            "the launcher does not have this key",
            key=key,
            expected=f"a launcher that has it: hydra/launcher={known[key]}",
        )
    return unknown_key(key, known)


def _check_keys(node: DictConfig, place: str) -> None:
    """Compare the keys of a node, and of all nodes in it, with the dataclass from which Hydra made it."""
    kind: Any = OmegaConf.get_type(node)
    known = _fields(kind) if dataclasses.is_dataclass(kind) else None
    if place == "hydra" and known is not None:
        known.add("env")  # a group of Hydra's own that its dataclass does not have
    if kind is SlurmConf:
        known = _fields(kind) | SlurmExecutor._valid_parameters()  # what submitit hands to sbatch and srun as well
    for key in map(str, node):
        name = f"{place}.{key}"
        if known is not None and key not in known:
            if name.startswith(LAUNCHER) or place == "hydra":
                raise unknown_hydra_key(name)
            raise unknown_key(name, {f"{place}.{each}" for each in known})
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not (child._is_none() or child._is_missing() or child._is_interpolation()):
            _check_keys(child, name)


def _fields(kind: Any) -> set[str]:
    """Return the fields of a dataclass and of its subclasses: a group such as the sampler is typed by its base class."""
    return {field.name for field in dataclasses.fields(kind)}.union(*map(_fields, kind.__subclasses__()))


def _names(node: DictConfig, place: str) -> set[str]:
    """Return the dotted names of a node's keys, groups included."""
    found = set()
    for key in map(str, node):
        child = node._get_node(key)
        found.add(f"{place}.{key}")
        if isinstance(child, DictConfig) and not (child._is_none() or child._is_missing()):
            found |= _names(child, f"{place}.{key}")
    return found
