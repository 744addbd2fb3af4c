"""The line that a user sees for an error. Errors that are not the user's keep their traceback."""

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from ssl_core.config.suggestion import did_you_mean, unknown_key
from ssl_core.config.validation import suggest_key
from ssl_core.errors import ConfigError, RunError
from ssl_launch.hydra_app.build_config import every_key
from ssl_launch.hydra_app.hydra_keys import LAUNCHER, unknown_hydra_key
from ssl_launch.hydra_app.override_syntax import unreadable
from ssl_launch.run_path import find_run

# On the search path of every command (hydra_plugins.ssl_launch_plugin)
EMBEDDED = Path(__file__).parents[1] / "configs"
_DATA_KEY = re.compile(r"(data|eval)\.\w+")  # ssl-data and ssl-eval raise ValueErrors that begin with the key
_EVALUATION = "evaluation"  # the embedded configuration of an evaluation, which cannot be trained


def error_message(error: BaseException, keys: Callable[[], Iterable[str]] = every_key) -> str | None:
    """Return one line for configuration errors and for errors of a run, Hydra and the data; None for any other error.

    Parameters
    ----------
    error : BaseException
        The error.
    keys : Callable
        Returns the keys of the command's configuration, for suggestions.
    """
    if isinstance(error, ConfigError | RunError):
        return _line(str(error))
    if isinstance(error, ValueError | OSError) and _DATA_KEY.match(str(error)):
        return _line(str(error))
    if isinstance(error, MissingConfigException):
        return _missing(error)
    if isinstance(error, yaml.YAMLError):
        return _line(f"not plain YAML: {error}")
    if isinstance(error, OverrideParseException):
        return unreadable(error.override)
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _hydra(error, keys)
    unknown = re.match(r"Unknown argument '(\w+)' for executor", str(error)) if isinstance(error, NameError) else None
    if unknown:  # submitit's, for a launcher's key that only submitit checks
        return str(unknown_hydra_key(LAUNCHER + unknown[1]))
    return None


def exit_with_message(line: str, code: int) -> NoReturn:
    """Print a line on stderr and exit."""
    print(line, file=sys.stderr, flush=True)
    raise SystemExit(code)


def _hydra(error: Exception, keys: Callable[[], Iterable[str]]) -> str:
    said = str(error)
    key = re.search(r"Could not override '([^']+)'", said)
    if key:
        return str(unknown_hydra_key(key[1]) if key[1].startswith("hydra.") else unknown_key(key[1], keys()))
    several = re.match(r"Ambiguous value for argument '(.+)'", said)
    if several:
        name, _, value = several[1].lstrip("+").partition("=")
        return f"{name}={value}: several values: -m makes a run of each, {name}=[{value}] a list of them"
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
    # the first two lines have the cause; paths of Hydra follow
    return _line(" ".join(said.splitlines()[:2]))


def _missing(error: MissingConfigException) -> str:
    """Return the line for a configuration that does not exist."""
    if error.missing_cfg_file is None:  # the folder is missing, not a file in it
        folder = re.search(r"config directory '([^']+)'", str(error))
        return f"--config-path={folder[1] if folder else ''}: no such folder"
    name = error.missing_cfg_file.removesuffix(".yaml")
    primary = str(error).startswith("Cannot find primary config")
    run = Path(find_run(name))
    if primary and (run / "config.yaml").is_file():
        return f"'{name}' is a run, not a recipe; expected its configuration, {run}/config.yaml, or `stable-ssl resume {name}`"
    if error.options is not None and "/" in name and not primary:
        group, _, choice = name.rpartition("/")
        if name == "hydra/sweeper/optuna":
            return f"{group}={choice}: Optuna is not installed; pip install hydra-optuna-sweeper"
        return f"{group}={choice}: no such choice{suggest_key(choice, error.options)}"
    inner = re.match(r"In '(.+)': Could not", str(error))  # a name in a defaults list
    place = f"{inner[1]}: defaults: {name}" if inner else f"--config-name={name}"
    near = did_you_mean(Path(name).name if primary else name, {*(error.options or ())} - {_EVALUATION})
    return f"{place}: no such configuration{near or '; `stable-ssl list recipes` prints the names'}"


def _line(text: str) -> str:
    return " ".join(text.split())
