"""The configuration of a run, read back from its folder: what a replay, an evaluation or a resumption begins with.

Nothing in the file names code. The method is one of ``ssl_core.methods.METHODS``, or the class that the caller gives; the data
is a class that the caller gives, or one that an installed package offers as an entry point of the group ``ssl_core.data``
(ssl-data does), never imported by name from here.
"""

import dataclasses
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from ssl_core.config import GROUPS, Config
from ssl_core.config.validation import build_dataclass, validation_errors
from ssl_core.errors import ConfigError
from ssl_core.methods import METHODS, method_class
from ssl_core.run.folder import RunFolder

if TYPE_CHECKING:
    from ssl_core.base_model import BaseModel

ENTRY_POINTS = "ssl_core.data"


def read_config(
    folder: RunFolder, method: "type[BaseModel] | None" = None, data: Any = None
) -> "tuple[type[BaseModel], Config]":
    """Return the method's class and the configuration of a run, checked as strictly as a new one.

    ``log.folder`` and ``log.run`` are those of the folder as it is found, wherever it has been moved to.

    Parameters
    ----------
    folder : RunFolder
        Of the run.
    method : type, optional
        One's own :class:`ssl_core.BaseModel`. Default: the one of ``ssl_core.methods`` that ``model.name`` names.
    data : optional
        The dataclass of the data group, or a data configuration itself. Default: what an installed package offers.

    Raises
    ------
    RunFolderError
        If the folder has no ``config.yaml``, or it is no plain YAML.
    ConfigError
        Naming key, value and what is allowed; a method or data that has to be given.
    """
    plain = folder.read_config()
    model = plain.get("model")
    name = model.get("name") if isinstance(model, dict) else None
    if method is None and name not in METHODS:
        raise ConfigError(f"model.name={name!r}: none of ours; say which class it is, e.g. --method FILE.py:{name}")
    kind = method or method_class(str(name))
    groups: dict[str, Any] = {**GROUPS, "model": kind.config_class}
    if data is None:
        data = _installed_data(plain.get("data"))
    if isinstance(data, type) and dataclasses.is_dataclass(data):
        groups["data"] = data
    else:  # an object that is no dataclass has left only its name
        plain.pop("data", None)
    found = validation_errors(plain, groups)
    if found:
        raise ConfigError(f"{folder.config}: {found[0][1]}")
    built = {group: build_dataclass(kind_, plain.get(group) or {}) for group, kind_ in groups.items()}
    if "data" not in groups:
        built["data"] = data() if isinstance(data, type) else data
    config = Config(**built)
    config.log.folder, config.log.run = str(folder.path.parent), folder.path.name
    return kind, config


def _installed_data(keys: Any) -> Any:
    """Return the installed dataclass that has all of these keys."""
    if isinstance(keys, dict):
        for each in entry_points(group=ENTRY_POINTS):
            kind = each.load()
            if keys.keys() <= {field.name for field in dataclasses.fields(kind)}:
                return kind
    raise ConfigError(
        f"data={keys!r}: no installed package has such a data configuration; say which class it is, e.g. "
        "--data FILE.py:MyData"
    )
