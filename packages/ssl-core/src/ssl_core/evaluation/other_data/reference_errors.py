"""The errors of a reference run on corrupted images, for the mCE."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssl_core.config.robustness import Corruptions
from ssl_core.errors import ConfigError
from ssl_core.run.folder import RunFolder

KEY = "eval.corruptions.reference"


def read_reference(how: Corruptions, names: Sequence[str], protocol: str, dataset: str = "") -> dict[str, Any] | None:
    """Return the part ``corruptions`` of the evaluation of ``how.reference`` by the same protocol; None without a reference.

    Parameters
    ----------
    how : Corruptions
        The configuration.
    names : sequence of str
        Corruptions that the reference needs.
    protocol : str
        The name of the protocol.
    dataset : str
        The name of the evaluation set, if the run has several.

    Raises
    ------
    ConfigError
        If the reference has not been evaluated, or not on these corruptions, severities and seed.
    """
    if how.reference is None:
        return None
    file = RunFolder(how.reference).evaluations / f"{protocol}{'_' * bool(dataset)}{dataset}.json"
    found = _corruptions_of(file, how.reference, protocol)
    lacking = [name for name in names if any(name not in each for each in found["errors"].values())]
    if lacking:
        raise ConfigError(f"{KEY}={how.reference!r}: '{file}' lacks the corruptions {', '.join(lacking)}")
    if found["severities"] != how.severities:
        raise ConfigError(
            f"{KEY}={how.reference!r}: '{file}' has the severities {found['severities']}, expected {how.severities}"
        )
    if found.get("seed", how.seed) != how.seed:
        raise ConfigError(
            f"{KEY}={how.reference!r}: '{file}' has eval.corruptions.seed={found['seed']}, expected {how.seed}"
        )
    return found


def check_reference(how: Corruptions, protocol: str) -> None:
    """Raise a ConfigError for a reference without an evaluation by the protocol, before anything is computed."""
    if how.reference is None:
        return
    files = sorted(RunFolder(how.reference).evaluations.glob(f"{protocol}*.json"))
    _corruptions_of(files[0] if files else Path(how.reference, "eval", f"{protocol}.json"), how.reference, protocol)


def _corruptions_of(file: Path, reference: str, protocol: str) -> dict[str, Any]:
    """Return the part of a file that has at least the errors, the clean errors and the severities."""
    try:
        found = json.loads(file.read_text())["corruptions"]
        if all(isinstance(found[key], kind) for key, kind in (("errors", dict), ("clean", dict), ("severities", list))):
            return found
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise ConfigError(
        f"{KEY}={reference!r}: '{file}' has no errors on corruptions; evaluate the reference first: "
        f"stable-ssl eval {reference} eval={protocol}"
    )
