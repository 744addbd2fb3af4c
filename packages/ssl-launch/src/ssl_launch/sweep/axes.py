"""Values of a sweep, checked before Hydra expands them."""

from collections.abc import Iterable
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, RangeSweep

from ssl_core.errors import ConfigError


def check_axes(overrides: Iterable[str], loader: Any) -> None:
    """Raise a ConfigError if an override has no value to sweep over; Hydra would run nothing and report success.

    Parameters
    ----------
    overrides : iterable of str
        From the command line, or from ``hydra.sweeper.params``.
    loader : ConfigLoader
        Hydra's loader; it knows the choices that a ``glob`` selects from.
    """
    for override in OverridesParser.create(config_loader=loader).parse_overrides(list(overrides)):
        if override.is_sweep_override() and override.is_discrete_sweep():
            value = override.value()
            if isinstance(value, RangeSweep) and value.step == 0:
                raise ConfigError(f"{override.input_line}: the step of a range must not be 0")
            if next(iter(override.sweep_string_iterator()), None) is None:
                raise ConfigError(f"{override.input_line}: no value to sweep over; {_reason(override, value, loader)}")


def _reason(override: Override, value: Any, loader: Any) -> str:
    if isinstance(value, RangeSweep):
        return "a range includes its start and excludes its stop"
    if isinstance(value, Glob):
        choices = loader.get_group_options(override.key_or_group)
        return f"the choices are {', '.join(choices)}" if choices else f"there is no group {override.key_or_group!r}"
    return "give at least one"
