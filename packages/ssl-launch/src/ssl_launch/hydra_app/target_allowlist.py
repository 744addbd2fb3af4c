"""What a configuration may name for the program to call: launchers, sweepers and samplers, and a console.

Hydra calls whatever ``_target_`` names in its launcher, its sweeper and its callbacks, however deep in them, whatever ``class``
and ``()`` name in its logging, and imports what ``pkg://`` names. Each composed configuration is looked through here before
Hydra does any of that. What is compared is the object that a name stands for, after every interpolation; nothing is imported to
find it: all that is allowed is there already.
"""

import logging
import re
import sys
from typing import Any

import hydra._internal.hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.errors import MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ssl_core.errors import ConfigError
from ssl_launch.hydra_app.hydra_keys import check_hydra_keys
from ssl_launch.sweep.axes import check_axes

_SUBMITIT = "hydra_plugins.hydra_submitit_launcher.submitit_launcher"
TARGETS: dict[
    str, tuple[str, ...]
] = {  # by name: Hydra loads its plugins a second time, and then they are other objects
    "hydra.launcher": (
        "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
        "hydra_plugins.ssl_launch_plugin.side_by_side_launcher.SideBySideLauncher",
        f"{_SUBMITIT}.LocalLauncher",
        "hydra_plugins.ssl_launch_plugin.slurm_launcher.SlurmLauncher",
    ),
    "hydra.sweeper": (
        "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
        "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper",
        "hydra_plugins.ssl_launch_plugin.optuna_sweeper.Search",
    ),
    "hydra.sweeper.sampler": tuple(
        f"optuna.samplers.{name}" for name in ("TPESampler", "RandomSampler", "GridSampler", "CmaEsSampler")
    ),
}
CALLED = ("hydra.launcher", "hydra.sweeper", "hydra.callbacks")  # in these nothing may stay unknown until it is called
LOGGING = ("hydra.job_logging", "hydra.hydra_logging")
LOGGING_CLASSES = (logging.StreamHandler, logging.NullHandler)  # none that writes a file: it could be any file
LOGGING_STREAMS = {"ext://sys.stdout", "ext://sys.stderr"}
PACKAGES = {"ssl_launch.configs", "hydra.conf"}  # whose YAML may be on the search path
ENVIRONMENT = {  # what a configuration may set in it: others name libraries to load, and commands that git would run for us
    "CUDA_VISIBLE_DEVICES", "MKL_NUM_THREADS", "NCCL_DEBUG", "NCCL_IB_DISABLE", "NCCL_P2P_DISABLE", "NCCL_SOCKET_IFNAME",
    "OMP_NUM_THREADS", "WANDB_MODE",
}  # fmt: skip
DEEPEST = 30  # levels: an interpolation may lead back into itself


def check_every_configuration() -> None:
    """Let Hydra compose through :class:`CheckedLoader` from now on."""
    hydra._internal.hydra.ConfigLoaderImpl = CheckedLoader  # type: ignore[misc]  # it has no other place to say so


class CheckedLoader(ConfigLoaderImpl):
    """Hydra's own, through which each configuration comes (of a run, a sweep, each member of it, and ``--cfg``)."""

    def load_configuration(self, *arguments: Any, **options: Any) -> DictConfig:
        """Compose; raise for what names anything that is not on our list, for an unknown key, and for an empty sweep."""
        try:
            config = super().load_configuration(*arguments, **options)
        except MissingConfigException as error:
            if error.options is None:  # a name, not a choice of a group: list what all places of the search path hold
                error.options = [name for name in self.get_group_options("") if not name.startswith("_")]
            raise
        check_targets(config)
        check_hydra_keys(config)
        params = OmegaConf.select(config, "hydra.sweeper.params") or {}
        check_axes((f"{key}={value}" for key, value in params.items()), self)
        if RunMode.MULTIRUN in (*arguments, *options.values()):
            check_axes(OmegaConf.select(config, "hydra.overrides.task") or (), self)
        return config

    def _process_config_searchpath(self, config_name: Any, parsed_overrides: Any, repo: Any) -> None:
        """Add what ``hydra.searchpath`` names, but for packages: Hydra would import them."""
        add = repo.initialize_sources

        def add_but_packages(search_path: Any) -> None:
            for element in search_path.get_path():
                _refuse_package(element.path)
            add(search_path)

        repo.initialize_sources = add_but_packages
        super()._process_config_searchpath(config_name, parsed_overrides, repo)


def _refuse_package(path: str) -> None:
    scheme, _, name = path.partition("://")
    name = name.replace("/", ".").rstrip(".")
    if scheme == "pkg" and name not in PACKAGES and not name.startswith("hydra_plugins."):  # these are imported before
        raise ConfigError(f"hydra.searchpath=[{path!r}]: a package would be imported; expected a folder, file://FOLDER")


def check_targets(config: DictConfig) -> None:
    """Raise if a composed configuration names something to call, to import or to load that is not on our list.

    Raises
    ------
    ConfigError
        Naming key and value, and what is allowed.
    """
    for place in LOGGING:
        _refuse_in_logging(OmegaConf.to_container(_section(config, place), resolve=False), place)
    for name in _section(config, "hydra.job.env_set"):
        if name not in ENVIRONMENT:
            raise ConfigError(
                f"hydra.job.env_set.{name}: a configuration may set only {', '.join(sorted(ENVIRONMENT))}; set others in the "
                "shell"
            )
    for key in _section(config, "hydra.callbacks"):
        raise ConfigError(f"hydra.callbacks.{key}: a configuration may name no callback")
    if OmegaConf.select(config, "hydra.sweeper.custom_search_space"):
        raise ConfigError("hydra.sweeper.custom_search_space: a configuration may name nothing to call")
    _refuse_targets(config, "")


def _section(config: DictConfig, place: str) -> Any:
    found = OmegaConf.select(config, place)
    return OmegaConf.create({}) if found is None else found


def _refuse_targets(node: Any, place: str, depth: int = 0) -> None:
    """Look for ``_target_`` in a node and in all that its interpolations lead to."""
    if depth > DEEPEST:
        raise ConfigError(f"{place}: deeper than {DEEPEST} levels, or leading back into itself")
    keys = range(len(node)) if isinstance(node, ListConfig | list) else list(node)
    for key in keys:
        here = f"{place}.{key}" if place else str(key)
        if OmegaConf.is_config(node) and OmegaConf.is_missing(node, key):
            continue
        try:
            value = node[key]
        except (OmegaConfBaseException, ValueError) as error:  # of an interpolation that leads nowhere, or not yet
            if key == "_target_" or here.startswith(CALLED):
                said = " ".join(str(error).split())
                raise ConfigError(f"{here}: what is called later must be known now ({said})") from error
            continue
        if key == "_target_":
            _refuse_target(value, place)
        elif isinstance(value, DictConfig | ListConfig | dict | list) and value:
            _refuse_targets(value, here, depth + 1)


def _refuse_target(name: Any, place: str) -> None:
    allowed = TARGETS.get(place, ())
    found = _loaded(name)
    if found is None and name in allowed:  # not loaded yet (Optuna's): Hydra will import just what our list says
        return
    if found is not None and any(found is _loaded(each) for each in allowed):
        return
    alias = f", which is {_full_name(found)}," if callable(found) and _full_name(found) != name else ""
    choices = f"expected one of {', '.join(allowed)}" if allowed else "nothing is called from here"
    raise ConfigError(f"{place or 'the configuration'}._target_={name!r}{alias} is not on our list: {choices}")


def _refuse_in_logging(node: Any, place: str) -> None:
    """Look through what ``logging.config.dictConfig`` is given: it calls and imports what its strings name."""
    if isinstance(node, dict):
        for key, value in node.items():
            here = f"{place}.{key}"
            if key == "class":
                if not any(_loaded(value) is each for each in LOGGING_CLASSES):
                    names = ", ".join(map(_full_name, LOGGING_CLASSES))
                    raise ConfigError(f"{here}={value!r} is not on our list: expected one of {names}")
            elif key in ("()", "factory", "queue", "listener"):
                raise ConfigError(f"{here}={value!r}: a configuration may name nothing to call")
            else:
                _refuse_in_logging(value, here)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            _refuse_in_logging(value, f"{place}.{index}")
    elif isinstance(node, str) and node not in LOGGING_STREAMS and (re.match(r"\s*[a-z]+://", node) or "${" in node):
        raise ConfigError(f"{place}={node!r}: expected a plain word, or {' or '.join(sorted(LOGGING_STREAMS))}")


def _loaded(name: Any) -> Any:
    """Return what a dotted name stands for among the modules that are loaded, or None. Imports nothing, runs nothing."""
    if not isinstance(name, str):
        return None
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        found: Any = sys.modules.get(".".join(parts[:length]))
        if found is not None:
            for part in parts[length:]:
                found = vars(found).get(part) if hasattr(found, "__dict__") else None
            return found
    return None


def _full_name(found: Any) -> str:
    return f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', found)}"
