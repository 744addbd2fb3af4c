"""Read the configuration of a run from its folder, for a replay, an evaluation or a resumption.

Nothing in the file names code. The method is one of ``ssl_core.methods.METHODS`` or a class that the caller gives. The data is
a class that the caller gives, or one that an installed package offers as an entry point of the group ``ssl_core.data``
(ssl-data does).
"""

import dataclasses
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from ssl_core.config import GROUPS, Config
from ssl_core.config.validation import build_groups, check_groups
from ssl_core.errors import ConfigError
from ssl_core.run.folder import RunFolder

ENTRY_POINTS = "ssl_core.data"


def read_config(folder: RunFolder, method: type | None = None, data: Any = None) -> tuple[Any, Config]:
    """Return the class of a run's method and the configuration, validated as a new one.

    ``log.folder`` and ``log.run`` are set to the present place of the folder.

    Parameters
    ----------
    folder : RunFolder
        The run folder. Raises a RunFolderError if it has no ``config.yaml``.
    method : type, optional
        A user-defined :class:`ssl_core.BaseModel`. Default: the method of ``ssl_core.methods`` called ``model.name``.
    data : optional
        The dataclass of the data group, or a data configuration. Default: the dataclass of an installed package.

    Raises
    ------
    ConfigError
        For an invalid value, or a method or data that has to be given.
    """
    plain = folder.read_config()
    model = plain.get("model")
    name = model.get("name") if isinstance(model, dict) else None
    kind: Any = method or _shipped_method(name)
    groups: dict[str, Any] = {**GROUPS, "model": kind.config_class}
    if data is None:
        data = _installed_data(plain.get("data"))
    if isinstance(data, type) and dataclasses.is_dataclass(data):
        groups["data"] = data
    else:  # an object that is no dataclass has left only its name
        plain.pop("data", None)
    try:
        built = build_groups(groups, plain)
        check_groups(built)
    except ConfigError as error:
        raise ConfigError(f"{folder.config}: {error}") from error
    if "data" not in groups:
        built["data"] = data() if isinstance(data, type) else data
    config = Config(**built)
    config.log.folder, config.log.run = str(folder.path.parent), folder.path.name
    return kind, config


def _shipped_method(name: Any) -> Any:
    """Return a method of ``ssl_core.methods``, loaded by name as installed data is: the methods import BaseModel."""
    methods = import_module("ssl_core.methods")
    if str(name) not in methods.METHODS:
        raise ConfigError(
            f"model.name={name!r}: not a method of ssl_core; name its class, e.g. --method FILE.py:{name}"
        )
    return methods.method_class(str(name))


def _installed_data(keys: Any) -> Any:
    """Return the installed dataclass that has all of these keys."""
    if isinstance(keys, dict):
        for each in entry_points(group=ENTRY_POINTS):
            kind = each.load()
            if keys.keys() <= {field.name for field in dataclasses.fields(kind)}:
                return kind
    raise ConfigError(
        f"data={keys!r}: no installed package has such a data configuration; name its class, e.g. --data FILE.py:MyData"
    )
