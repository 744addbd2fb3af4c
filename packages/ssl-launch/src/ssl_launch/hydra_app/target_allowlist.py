"""The allowlist of objects that a configuration may name for Hydra to call.

Hydra calls the object that ``_target_`` names in its launcher, sweeper and callbacks at any depth, and those that ``class`` and
``()`` name in its logging, and imports the package of ``pkg://``. Each composed configuration is checked before that. The check
compares the object that a name refers to after every interpolation. It imports nothing: all allowed modules are loaded.
"""

import logging
import re
import sys
from typing import Any

import hydra._internal.hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.types import OverrideType
from hydra.errors import MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ssl_core.errors import ConfigError
from ssl_launch.hydra_app.hydra_keys import check_hydra_keys
from ssl_launch.hydra_app.override_syntax import check_axes

_SUBMITIT = "hydra_plugins.hydra_submitit_launcher.submitit_launcher"
TARGETS: dict[str, tuple[str, ...]] = {  # by name: Hydra loads its plugins a second time, as other objects
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
CALLED = ("hydra.launcher", "hydra.sweeper", "hydra.callbacks")  # here every interpolation must resolve now
LOGGING = ("hydra.job_logging", "hydra.hydra_logging")
LOGGING_CLASSES = (logging.StreamHandler, logging.NullHandler)  # none that writes a file: it could be any file
LOGGING_STREAMS = {"ext://sys.stdout", "ext://sys.stderr"}
PACKAGES = {"ssl_launch.configs", "hydra.conf"}  # whose YAML may be on the search path
ENVIRONMENT = {  # variables that a configuration may set: others load libraries, or make git run commands
    "CUDA_VISIBLE_DEVICES", "MKL_NUM_THREADS", "NCCL_DEBUG", "NCCL_IB_DISABLE", "NCCL_P2P_DISABLE", "NCCL_SOCKET_IFNAME",
    "OMP_NUM_THREADS", "WANDB_MODE",
}  # fmt: skip
MAX_DEPTH = 30  # levels: an interpolation may be a cycle


def check_every_configuration() -> None:
    """Make Hydra compose through :class:`CheckedLoader` from now on."""
    hydra._internal.hydra.ConfigLoaderImpl = CheckedLoader  # type: ignore[misc]  # Hydra has no option for it


class CheckedLoader(ConfigLoaderImpl):
    """Hydra's loader with our checks. It composes the configuration of a run, a sweep, each member of it, and ``--cfg``."""

    def load_configuration(self, *arguments: Any, **options: Any) -> DictConfig:
        """Compose; raise for a target that is not allowed, for an unknown key of hydra, and for an empty sweep."""
        try:
            config = super().load_configuration(*arguments, **options)
        except MissingConfigException as error:
            if error.options is None:  # a configuration, not a choice of a group: list those of the whole search path
                error.options = [name for name in self.get_group_options("") if not name.startswith("_")]
            raise
        check_targets(config)
        check_hydra_keys(config)
        params = OmegaConf.select(config, "hydra.sweeper.params") or {}
        check_axes((f"{key}={value}" for key, value in params.items()), self)
        if RunMode.MULTIRUN in (*arguments, *options.values()):
            check_axes(OmegaConf.select(config, "hydra.overrides.task") or (), self)
        return config

    def _parse_overrides_and_create_caching_repo(self, config_name: Any, overrides: Any) -> Any:
        """Let ``group.key=v`` set any key, whether the file has it or not; our validator finds the unknown ones.

        ``+`` and ``++`` in front of a key of ours change nothing then. Keys of ``hydra`` and groups keep Hydra's rules.
        """
        parsed, repo = super()._parse_overrides_and_create_caching_repo(config_name, overrides)
        for each in parsed:
            if "." in each.key_or_group and not each.key_or_group.startswith("hydra.") and not each.is_delete():
                each.type = OverrideType.FORCE_ADD
        return parsed, repo

    def _process_config_searchpath(self, config_name: Any, parsed_overrides: Any, repo: Any) -> None:
        """Add the folders of ``hydra.searchpath``; raise for packages, which Hydra would import."""
        add = repo.initialize_sources

        def add_but_packages(search_path: Any) -> None:
            for element in search_path.get_path():
                _check_package(element.path)
            add(search_path)

        repo.initialize_sources = add_but_packages
        super()._process_config_searchpath(config_name, parsed_overrides, repo)


def _check_package(path: str) -> None:
    scheme, _, name = path.partition("://")
    name = name.replace("/", ".").rstrip(".")
    if scheme == "pkg" and name not in PACKAGES and not name.startswith("hydra_plugins."):  # these are imported already
        raise ConfigError(
            "a package would be imported", key="hydra.searchpath", value=[path], expected="a folder, file://FOLDER"
        )


def check_targets(config: DictConfig) -> None:
    """Raise if a composed configuration names an object to call, to import or to load that is not on the allowlist.

    Raises
    ------
    ConfigError
        Naming key and value, and what is allowed.
    """
    for place in LOGGING:
        _check_logging(OmegaConf.to_container(_section(config, place), resolve=False), place)
    for name in _section(config, "hydra.job.env_set"):
        if name not in ENVIRONMENT:
            raise ConfigError(
                "set other variables in the shell", key=f"hydra.job.env_set.{name}", expected=sorted(ENVIRONMENT)
            )
    for key in _section(config, "hydra.callbacks"):
        raise ConfigError("a configuration cannot name a callback", key=f"hydra.callbacks.{key}")
    if OmegaConf.select(config, "hydra.sweeper.custom_search_space"):
        raise ConfigError("a configuration cannot name a function", key="hydra.sweeper.custom_search_space")
    _check_nested_targets(config, "")


def _section(config: DictConfig, place: str) -> Any:
    found = OmegaConf.select(config, place)
    return OmegaConf.create({}) if found is None else found


def _check_nested_targets(node: Any, place: str, depth: int = 0) -> None:
    """Check each ``_target_`` in a node and in the nodes that its interpolations refer to."""
    if depth > MAX_DEPTH:
        raise ConfigError(key=place, expected=f"at most {MAX_DEPTH} levels, without cycles")
    keys = range(len(node)) if isinstance(node, ListConfig | list) else list(node)
    for key in keys:
        here = f"{place}.{key}" if place else str(key)
        if OmegaConf.is_config(node) and OmegaConf.is_missing(node, key):
            continue
        try:
            value = node[key]
        except (OmegaConfBaseException, ValueError) as error:  # of an interpolation without a value, or without one yet
            if key == "_target_" or here.startswith(CALLED):
                reason = " ".join(str(error).split())
                raise ConfigError(f"a target must be known before the run ({reason})", key=here) from error
            continue
        if key == "_target_":
            _check_target(value, place)
        elif isinstance(value, DictConfig | ListConfig | dict | list) and value:
            _check_nested_targets(value, here, depth + 1)


def _check_target(name: Any, place: str) -> None:
    allowed = TARGETS.get(place, ())
    found = _loaded(name)
    if found is None and name in allowed:  # not loaded yet (Optuna's): Hydra imports the name on the allowlist
        return
    if found is not None and any(found is _loaded(each) for each in allowed):
        return
    alias = f" ({_full_name(found)})" if callable(found) and _full_name(found) != name else ""
    raise ConfigError(
        f"the target{alias} is not allowed",
        key=f"{place}._target_".lstrip("."),
        value=name,
        expected=allowed or "no target here",
    )


def _check_logging(node: Any, place: str) -> None:
    """Check the arguments of ``logging.config.dictConfig``, which calls and imports what its strings name."""
    if isinstance(node, dict):
        for key, value in node.items():
            here = f"{place}.{key}"
            if key == "class":
                if not any(_loaded(value) is each for each in LOGGING_CLASSES):
                    names = [_full_name(each) for each in LOGGING_CLASSES]
                    raise ConfigError("the class is not allowed", key=here, value=value, expected=names)
            elif key in ("()", "factory", "queue", "listener"):
                raise ConfigError("a configuration cannot name a function", key=here, value=value)
            else:
                _check_logging(value, here)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            _check_logging(value, f"{place}.{index}")
    elif isinstance(node, str) and node not in LOGGING_STREAMS and (re.match(r"\s*[a-z]+://", node) or "${" in node):
        raise ConfigError(key=place, value=node, expected=f"a plain string, or {' or '.join(sorted(LOGGING_STREAMS))}")


def _loaded(name: Any) -> Any:
    """Return the object of a dotted name if its module is loaded, else None. Nothing is imported."""
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
