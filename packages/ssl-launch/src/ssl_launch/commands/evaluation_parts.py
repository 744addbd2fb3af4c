"""Check the optional parts of a protocol that name data, before torch is imported."""

from typing import Any

from ssl_core.config.robustness import Corruptions
from ssl_core.config.suggestion import unknown_name
from ssl_core.errors import ConfigError
from ssl_data.corruptions.severities import CORRUPTIONS
from ssl_launch.run_path import find_run, missing_run


def check_parts(parts: dict[str, Any]) -> None:
    """Raise a ConfigError for an unknown corruption or a reference that does not exist; make the reference a path.

    Parameters
    ----------
    parts : dict
        Name of a part -> its dataclass, changed in place.
    """
    corruptions = parts.get("corruptions")
    if corruptions is not None:
        _check_corruptions(corruptions)


def _check_corruptions(how: Corruptions) -> None:
    for name in how.names:
        if name not in CORRUPTIONS:
            raise unknown_name("eval.corruptions.names", name, CORRUPTIONS)
    if how.reference is not None:
        problem = missing_run(how.reference)
        if problem:
            raise ConfigError(f"eval.corruptions.reference: {problem}")
        how.reference = find_run(how.reference)
