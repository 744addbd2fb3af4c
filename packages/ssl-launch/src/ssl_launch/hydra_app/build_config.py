"""Build the configuration of a run from what Hydra has composed."""

import copy
import dataclasses
from typing import Any

from ssl_core.config import GROUPS, Config, ModelConfig
from ssl_core.config.validation import build_groups, check_groups, known_keys
from ssl_core.errors import ConfigError
from ssl_core.methods import METHODS, method_class
from ssl_data.config import DataConfig


def build_config(composed: dict[str, Any], overrides: list[str], method: Any = None, data: Any = None) -> Config:
    """Return the validated configuration. No data is opened.

    The method's module imports torch, so that the other groups are checked first: their errors appear within two seconds.

    Parameters
    ----------
    composed : dict
        The configuration that Hydra has composed, resolved: group -> key -> value.
    overrides : list of str
        The overrides of the command line.
    method, data : optional
        As in :func:`ssl_launch.launch`.

    Raises
    ------
    ConfigError
        For an unknown key, a wrong value or a wrong combination; if there are several, the first, and the keys of the others.
    """
    if "eval" in composed:
        raise ConfigError(
            "this group configures an evaluation", key="eval", expected="the command eval.py or `stable-ssl eval`"
        )
    _check_empty_mappings(composed, overrides)
    model = composed.get("model") or {}
    typed = {override.lstrip("+~").partition("=")[0] for override in overrides}
    others = {name: values for name, values in composed.items() if name != "model"}
    is_object = data is not None and not isinstance(data, type)
    if is_object:
        others["data"] = _values(data) | _from_command_line(composed.get("data"), typed)
    data_kind = type(data) if is_object else data or DataConfig
    kinds = {"data": data_kind, **{name: kind for name, kind in GROUPS.items() if name != "model"}}
    groups = build_groups(kinds, others, every_key(data, method))
    if is_object:
        groups["data"] = _changed(data, others["data"])
    check_groups(groups)
    kind: type = ModelConfig
    if isinstance(model, dict):
        if method is not None and "model.name" not in typed:
            model = {**model, "name": method.__name__}
        kind = (method or method_class(str(model.get("name", ModelConfig.name)))).config_class
        if method is not None or "model.name" in typed:
            model = _without_keys_of_other_methods(model, kind, typed)
    config = Config(**groups, **build_groups({"model": kind}, {"model": model}))
    config.check()
    return config


def _without_keys_of_other_methods(model: dict[str, Any], kind: type, typed: set[str]) -> dict[str, Any]:
    """Return the model group without the keys that the file sets for another method; keys of the command line stay."""
    own = _names(kind)
    if model.keys() <= own:
        return model
    others = set().union(*(_names(method_class(name).config_class) for name in METHODS)) - own
    return {key: value for key, value in model.items() if key not in others or f"model.{key}" in typed}


def _from_command_line(values: Any, typed: set[str]) -> dict[str, Any]:
    """Return the keys of the data group that the command line sets; those of the file are replaced by the script's object."""
    return {key: value for key, value in (values or {}).items() if f"data.{key}" in typed}


def _values(data: Any) -> dict[str, Any]:
    return {field.name: getattr(data, field.name) for field in dataclasses.fields(data)}


def _changed(data: Any, values: dict[str, Any]) -> Any:
    """Return a copy of a data configuration with other values, which keeps the objects that are not fields."""
    changed = copy.copy(data)
    for key, value in values.items():
        object.__setattr__(changed, key, value)  # it may be frozen
    return changed


def _names(kind: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def _check_empty_mappings(composed: dict[str, Any], overrides: list[str]) -> None:
    """Raise for ``group.key={}`` where the file has a mapping: Hydra merges the two, which changes nothing."""
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        group, _, name = key.partition(".")
        values = composed.get(group)
        kept = values.get(name) if isinstance(values, dict) else None
        if kept and isinstance(kept, dict) and value.replace(" ", "") == "{}":
            raise ConfigError(f"an empty mapping keeps the file's {kept}; write ~{key} to remove it", key=key, value={})


def every_key(data: Any = None, method: Any = None) -> set[str]:
    """Return ``{"optim.lr", ...}``, the keys of all groups; those of our methods, which import torch, are not included."""
    model = ModelConfig if method is None else method.config_class
    return known_keys({"data": DataConfig if data is None else data, **GROUPS, "model": model})
