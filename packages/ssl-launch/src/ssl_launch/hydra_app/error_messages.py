"""Errors that a user can mend, as one line; everything else keeps its traceback."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from ssl_core.config.validation import suggest_key
from ssl_core.errors import ConfigError, RunError
from ssl_launch.hydra_app.build_config import unknown_key
from ssl_launch.hydra_app.hydra_keys import LAUNCHER, unknown_hydra_key
from ssl_launch.hydra_app.override_syntax import unreadable

EMBEDDED = (
    Path(__file__).parents[1] / "configs"
)  # on the search path of every command (hydra_plugins.ssl_launch_plugin)
_ABOUT_A_KEY = re.compile(r"(data|model|optim|hardware|log|eval)\.\w+")
_EVALUATION = "evaluation"  # the embedded configuration of an evaluation, which is not one to train
_TRAINING = "simclr_digits"


def error_message(
    error: BaseException, data: type | None = None, known: Iterable[str] = (), method: Any = None
) -> str | None:
    """Return the line to show for an error, or None where the traceback is what helps.

    An unknown key is answered with the nearest of ``known``, or of those of a run where they are not given.

    Shown as a line: configuration errors, errors that a run names, errors of the data that begin with the key to
    change, and what Hydra says of a command line.
    """
    if isinstance(error, ConfigError | RunError):
        return _line(str(error))
    if isinstance(error, ValueError | OSError) and _ABOUT_A_KEY.match(str(error)):
        return _line(str(error))
    if isinstance(error, MissingConfigException):
        return _missing(error, _TRAINING if known else _EVALUATION)
    if isinstance(error, yaml.YAMLError):
        return _line(f"no plain YAML: {error}")
    if isinstance(error, OverrideParseException):
        return unreadable(error.override)
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _hydra(error, data, known, method)
    unknown = re.match(r"Unknown argument '(\w+)' for executor", str(error)) if isinstance(error, NameError) else None
    if unknown:  # submitit's, for a key that ++ has put past Hydra
        return unknown_hydra_key(LAUNCHER + unknown[1])
    return None


def exit_with_message(line: str, code: int) -> NoReturn:
    """End the process with a line on stderr and an exit code."""
    print(line, file=sys.stderr, flush=True)
    raise SystemExit(code)


def _hydra(error: Exception, data: type | None, known: Iterable[str], method: Any) -> str:
    said = str(error)
    key = re.search(r"Could not override '([^']+)'", said)
    if key and key[1].startswith("hydra."):
        return unknown_hydra_key(key[1])
    if key:
        sentence = f"{key[1]}: unknown key{suggest_key(key[1], known)}" if known else unknown_key(key[1], data, method)
        return sentence or f"{key[1]}: the configuration file does not have this key; write ++{key[1]}=VALUE"
    several = re.match(r"Ambiguous value for argument '(.+)'", said)
    if several:
        name, _, value = several[1].partition("=")
        return f"{several[1]}: several values: -m makes a run of each, {name}=[{value}] a list of them"
    sweep = re.match(r"Sweep parameters '(.+)' requires --multirun", said)
    if sweep:
        return f"{sweep[1]}: several values: -m makes a run of each"
    missing = re.match(r"You must specify '(.+)', e\.g", said)
    if missing:  # "size: ???" in a defaults list
        options = [line.strip() for line in said.partition("options:")[2].splitlines() if line.strip()]
        one_of = f", one of {', '.join(map(repr, options))}" if options else ""
        return f"{missing[1]}: the configuration leaves this choice open; expected {missing[1]}=NAME{one_of}"
    merging = re.match(r"Error merging override (.+)", said)
    if merging:
        return _line(f"{merging[1].lstrip('+')}: {str(error.__cause__).splitlines()[0]}")
    # the first two lines say what and where; what follows are paths of Hydra's own
    return _line(" ".join(said.splitlines()[:2]))


def _missing(error: MissingConfigException, other: str) -> str:
    """Return the line for a configuration that does not exist; ``other`` belongs to another command."""
    if error.missing_cfg_file is None:  # the folder is missing, not a file in it
        folder = re.search(r"config directory '([^']+)'", str(error))
        return f"--config-path={folder[1] if folder else ''}: there is no such folder"
    name = error.missing_cfg_file.removesuffix(".yaml")
    if error.options is not None and "/" in name:
        group, _, choice = name.rpartition("/")
        return f"{group}={choice}: there is no such choice{suggest_key(choice, error.options)}"
    inner = re.match(r"In '(.+)': Could not", str(error))  # a name in a defaults list
    place = f"{inner[1]}: defaults: {name}" if inner else f"--config-name={name}"
    return f"{place}: there is no such configuration{suggest_key(name, {*(error.options or ())} - {other})}"


def _line(text: str) -> str:
    return " ".join(text.split())
