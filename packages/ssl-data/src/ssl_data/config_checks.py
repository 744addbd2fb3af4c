"""Checks of the ``data`` group, without torch."""

import math
from dataclasses import fields
from numbers import Real
from typing import TYPE_CHECKING, Any

from ssl_data.augment.presets import view_names, views
from ssl_data.augment.view_mappings import views_of_mappings
from ssl_data.suggestion import did_you_mean

if TYPE_CHECKING:
    from ssl_data.config import DataConfig

_UNBOUNDED = {"low": -math.inf, "above": -math.inf, "high": math.inf}
_SIGNS = {"low": "at least", "above": "above", "high": "at most"}


def check_fields(config: "DataConfig") -> None:
    """Raise a ValueError that begins with the key, for a value that the metadata of its field does not allow."""
    for each in fields(config):
        value, name, allowed = getattr(config, each.name), f"data.{each.name}", each.metadata
        if "choices" in allowed and value not in allowed["choices"]:
            hint = did_you_mean(str(value), allowed["choices"])
            raise ValueError(f"{name}={value!r}: expected one of {', '.join(map(repr, allowed['choices']))}{hint}")
        limits = {key: allowed[key] for key in ("low", "above", "high") if key in allowed}
        low, above, high = (limits.get(key, bound) for key, bound in _UNBOUNDED.items())
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        if limits and not (is_number and low <= value <= high and value > above):
            said = " and ".join(f"{_SIGNS[key]} {limit:g}" for key, limit in limits.items())
            raise ValueError(f"{name}={value!r}: expected a number {said}")


def check_views(config: "DataConfig") -> None:
    """Raise a ValueError for views that are neither a preset, nor mappings, nor functions, and for other keys of functions."""
    for name in ("eval_view", "batch_transform"):
        value = getattr(config, name)
        if value is not None and not is_function(value):
            raise ValueError(f"data.{name}={value!r}: expected a function, which only Python can give")
    if isinstance(config.views, str):
        views(config.views)
    elif config.has_functions:
        _check_functions(config)
    elif (
        not isinstance(config.views, list | tuple)
        or not config.views
        or not all(isinstance(view, dict) for view in config.views)
    ):
        names = ", ".join(map(repr, view_names()))
        raise ValueError(
            f"data.views={config.views!r}: expected one of {names}, or a list of mappings, one a view, or in Python of "
            "functions"
        )
    else:
        views_of_mappings(config.views, 32, (0.0,), (1.0,))


def _check_functions(config: "DataConfig") -> None:
    """Raise a ValueError for views that are not all functions, and for keys that only the engine's views have."""
    if not all(map(is_function, config.views)):
        raise ValueError(f"data.views={config.views!r}: expected a function for each view, or none")
    for name in ("size", "executor", "scaled_decoding", "value_range"):
        if getattr(config, name) != getattr(type(config), name) and (name, config.executor) != ("executor", "fused"):
            raise ValueError(f"data.{name}={getattr(config, name)!r}: not a key of views that are functions")


def is_function(value: Any) -> bool:
    """Return whether a value is a function, or stands for one in the configuration file of a run: "<module.class>"."""
    return callable(value) or (isinstance(value, str) and value.startswith("<") and value.endswith(">"))
