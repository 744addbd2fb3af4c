"""From composed YAML to the configuration of a run."""

import dataclasses
from typing import Any

from ssl_core.config import GROUPS, Config, ModelConfig
from ssl_core.config.validation import build_dataclass, known_keys, suggest_key, validation_errors
from ssl_core.errors import ConfigError
from ssl_core.methods import METHODS, config_class


def build_config(
    composed: dict[str, Any], overrides: list[str], method: Any = None, data: type | None = None
) -> Config:
    """Return the configuration, or refuse it with one line. No data is opened, and no torch imported for methods of ours.

    Parameters
    ----------
    composed : dict
        What Hydra composed, resolved: group -> key -> value.
    overrides : list of str
        Those of the command line: keys of the model group that only another method knows are refused when they were
        typed, and left out when they came with the file of that method.
    method, data : type, optional
        As in :func:`ssl_launch.launch`.

    Raises
    ------
    ConfigError
        Naming key, value and what is allowed; if several things are wrong, the first, and how many more.
    """
    data = data or default_data()
    if "eval" in composed:
        raise ConfigError("eval: this group configures an evaluation; use it with eval.py or `stable-ssl eval`")
    if not isinstance(composed.get("model") or {}, dict):
        raise ConfigError(validation_errors({"model": composed["model"]}, {"model": ModelConfig})[0][1])
    model = dict(composed.get("model") or {})
    if method is None:
        keys = config_class(str(model.get("name", ModelConfig.name)))
    else:
        keys = method.config_class
        typed = {override.lstrip("+~").partition("=")[0] for override in overrides}
        name = model.get("name")
        if "model.name" not in typed:
            model["name"] = method.__name__
        foreign = config_class(name) if name in METHODS else ModelConfig
        ours = {field.name for field in dataclasses.fields(keys)}
        for field in dataclasses.fields(foreign):
            if field.name not in ours and f"model.{field.name}" not in typed:
                model.pop(field.name, None)
    groups: dict[str, Any] = {"data": data, **GROUPS, "model": keys}
    given = {**composed, "model": model}
    _refuse_empty_mappings(given, overrides)
    found = validation_errors(given, groups)
    if found:
        more = f" (and {len(found) - 1} more: {', '.join(key for key, _ in found[1:])})" if len(found) > 1 else ""
        raise ConfigError(f"{found[0][1]}{more}")
    built = {name: build_dataclass(group, given.get(name) or {}) for name, group in groups.items()}
    config = Config(**built)
    config.check()
    return config


def _refuse_empty_mappings(given: dict[str, Any], overrides: list[str]) -> None:
    """Raise for ``group.key={}`` where the file has a mapping: Hydra merges the two, which changes nothing."""
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        group, _, name = key.partition(".")
        values = given.get(group)
        kept = values.get(name) if isinstance(values, dict) else None
        if kept and isinstance(kept, dict) and value.replace(" ", "") == "{}":
            raise ConfigError(f"{key}={{}}: an empty mapping keeps the file's {kept}; write ~{key} to remove it")


def default_data() -> type:
    """Return the dataclass of the data group."""
    from ssl_data.config import DataConfig

    return DataConfig


def unknown_key(key: str, data: type | None = None, method: Any = None) -> str:
    """Return the message for a key that no dataclass knows, or an empty string for a key that exists."""
    keys = every_key(data, method)
    return "" if key in keys else f"{key}: unknown key{suggest_key(key, keys)}"


def every_key(data: type | None = None, method: Any = None) -> set[str]:
    """Return ``{"optim.lr", ...}``: the keys of all groups, those of ``model`` for a user-defined method or for all of ours."""
    keys = known_keys({"data": data or default_data(), **GROUPS})
    for kind in map(config_class, METHODS) if method is None else [method.config_class]:
        keys |= known_keys({"model": kind})
    return keys
