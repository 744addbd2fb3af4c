"""Errors that a user can mend, as one line; everything else keeps its traceback."""

import dataclasses
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra_plugins.hydra_submitit_launcher.config import LocalQueueConf
from omegaconf.errors import OmegaConfBaseException

from hydra_plugins.ssl_launch_plugin.side_by_side_launcher import SideBySideConf
from ssl_core.errors import ConfigError, RunError
from ssl_core.strict import nearest
from ssl_launch.assemble import unknown_key
from ssl_launch.slurm_conf import SlurmConf

EMBEDDED = Path(__file__).parent / "configs"  # on the search path of every command (hydra_plugins.ssl_launch_plugin)
_ABOUT_A_KEY = re.compile(r"(data|model|optim|hardware|log|eval)\.\w+")
_LAUNCHER = "hydra.launcher."
_LAUNCHERS = {"side_by_side": SideBySideConf, "submitit_local": LocalQueueConf, "submitit_slurm": SlurmConf}


def complaint(error: BaseException, data: type | None = None, known: Iterable[str] = ()) -> str | None:
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
        return _missing(error)
    if isinstance(error, yaml.YAMLError):
        return _line(f"no plain YAML: {error}")
    if isinstance(error, OverrideParseException):
        return f"{error.override}: expected group.key=value, +group.key=value or ++group.key=value"
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _hydra(error, data, known)
    unknown = re.match(r"Unknown argument '(\w+)' for executor", str(error)) if isinstance(error, NameError) else None
    if unknown:  # submitit's, for a key that ++ has put past Hydra
        return _launcher_key(_LAUNCHER + unknown[1])
    return None


def end(line: str, code: int) -> NoReturn:
    """End the process with a line on stderr and an exit code."""
    print(line, file=sys.stderr, flush=True)
    raise SystemExit(code)


def _hydra(error: Exception, data: type | None, known: Iterable[str]) -> str:
    said = str(error)
    key = re.search(r"Could not override '([^']+)'", said)
    if key and key[1].startswith(_LAUNCHER):
        return _launcher_key(key[1])
    if key:
        sentence = f"{key[1]}: unknown key{nearest(key[1], known)}" if known else unknown_key(key[1], data)
        return sentence or f"{key[1]}: the configuration file does not have this key; write ++{key[1]}=VALUE"
    several = re.match(r"Ambiguous value for argument '(.+)'", said)
    if several:
        name, _, value = several[1].partition("=")
        return f"{several[1]}: several values: -m makes a run of each, {name}=[{value}] a list of them"
    merging = re.match(r"Error merging override (.+)", said)
    if merging:
        return _line(f"{merging[1].lstrip('+')}: {str(error.__cause__).splitlines()[0]}")
    # the first two lines say what and where; what follows are paths of Hydra's own
    return _line(" ".join(said.splitlines()[:2]))


def _launcher_key(key: str) -> str:
    known = {
        _LAUNCHER + field.name: launcher for launcher, conf in _LAUNCHERS.items() for field in dataclasses.fields(conf)
    }
    if key in known:
        return f"{key}: the launcher does not have this key; name one that has it, e.g. hydra/launcher={known[key]}"
    return f"{key}: unknown key{nearest(key, known)}"


def _missing(error: MissingConfigException) -> str:
    if error.missing_cfg_file is None:  # the folder is missing, not a file in it
        folder = re.search(r"config directory '([^']+)'", str(error))
        return f"--config-path={folder[1] if folder else ''}: there is no such folder"
    name = error.missing_cfg_file.removesuffix(".yaml")
    if error.options is not None and "/" in name:
        group, _, choice = name.rpartition("/")
        return f"{group}={choice}: there is no such choice{nearest(choice, error.options)}"
    folders = [Path(found) for found in re.findall(r"path=file://(\S+)", str(error))]
    names = {path.stem for folder in (*folders, EMBEDDED) for path in folder.glob("*.yaml")}
    return f"--config-name={name}: there is no such configuration{nearest(name, names)}"


def _line(text: str) -> str:
    return " ".join(text.split())
