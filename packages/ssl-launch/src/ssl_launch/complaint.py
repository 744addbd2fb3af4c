"""Errors that a user can mend, as one line; everything else keeps its traceback."""

import re
from pathlib import Path

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from ssl_core.errors import ConfigError, RunError
from ssl_launch.assemble import unknown_key
from ssl_launch.strict import nearest

EMBEDDED = Path(__file__).parent / "configs"  # on the search path of every command (hydra_plugins.ssl_launch_plugin)
_ABOUT_A_KEY = re.compile(r"(data|model|optim|hardware|log)\.\w+")


def complaint(error: BaseException, data: type | None = None) -> str | None:
    """Return the line to show for an error, or None where the traceback is what helps.

    Shown as a line: configuration errors, errors that a run names, errors of the data that begin with the key to
    change, and what Hydra says of a command line.
    """
    if isinstance(error, ConfigError | RunError):
        return _line(str(error))
    if isinstance(error, ValueError | OSError) and _ABOUT_A_KEY.match(str(error)):
        return _line(str(error))
    if isinstance(error, MissingConfigException):
        return _missing(error)
    if isinstance(error, OverrideParseException):
        return f"{error.override}: expected group.key=value, +group.key=value or ++group.key=value"
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _hydra(str(error), data)
    return None


def _hydra(said: str, data: type | None) -> str:
    key = re.search(r"Could not override '([^']+)'", said)
    if key:
        sentence = unknown_key(key[1], data)
        return sentence or f"{key[1]}: the configuration file does not have this key; write ++{key[1]}=VALUE"
    # the first two lines say what and where; what follows are paths of Hydra's own
    return _line(" ".join(said.splitlines()[:2]))


def _missing(error: MissingConfigException) -> str:
    name = (error.missing_cfg_file or "").removesuffix(".yaml")
    folders = [Path(found) for found in re.findall(r"path=file://(\S+)", str(error))]
    names = {path.stem for folder in (*folders, EMBEDDED) for path in folder.glob("*.yaml")}
    return f"--config-name={name}: there is no such configuration{nearest(name, names)}"


def _line(text: str) -> str:
    return " ".join(text.split())
