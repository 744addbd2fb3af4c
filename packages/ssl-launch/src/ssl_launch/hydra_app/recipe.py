"""The recipe of a command line: a bare word."""

import re
from argparse import Namespace
from pathlib import Path

from ssl_core.errors import ConfigError

_RECIPE = re.compile(r"[\w./][\w./-]*")


def name_recipe(arguments: Namespace) -> None:
    """Take a bare word as ``--config-name``: the name of a recipe, or the path of a YAML file."""
    words = [each for each in arguments.overrides if _RECIPE.fullmatch(each)]
    names = [*filter(None, [arguments.config_name]), *words]
    if not words:
        return
    if len(names) > 1:
        raise ConfigError(f"{' '.join(names)}: expected one recipe, then group.key=value")
    arguments.overrides.remove(words[0])
    path = Path(words[0])
    if path.suffix == ".yaml" and path.is_file():
        arguments.config_path, arguments.config_name = str(path.parent.absolute()), path.stem
    else:
        arguments.config_name = words[0]
