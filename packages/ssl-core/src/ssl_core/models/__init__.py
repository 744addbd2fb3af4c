"""The methods, by name. A method is a :class:`~ssl_core.BaseModel`; its file holds its configuration beside it."""

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ssl_core.errors import ConfigError

if TYPE_CHECKING:
    from ssl_core.base_model import BaseModel
    from ssl_core.models.barlow_twins import BarlowTwins
    from ssl_core.models.simclr import SimCLR
    from ssl_core.models.supervised import Supervised
    from ssl_core.models.vicreg import VICReg
    from ssl_core.models.w_mse import WMSE

# name -> "module:Class"; loaded when it is asked for
METHODS: dict[str, str] = {
    "barlow_twins": "ssl_core.models.barlow_twins:BarlowTwins",
    "simclr": "ssl_core.models.simclr:SimCLR",
    "supervised": "ssl_core.models.supervised:Supervised",
    "vicreg": "ssl_core.models.vicreg:VICReg",
    "w_mse": "ssl_core.models.w_mse:WMSE",
}

__all__ = ["METHODS", "WMSE", "BarlowTwins", "SimCLR", "Supervised", "VICReg", "method_class"]


def method_class(name: str) -> "type[BaseModel]":
    """Return the class of a method.

    Raises
    ------
    ConfigError
        If ``name`` is none of :data:`METHODS`.
    """
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"model.name={name!r}: expected one of {', '.join(map(repr, METHODS))}{hint}")
    module, attribute = METHODS[name].split(":")
    return getattr(import_module(module), attribute)


def __getattr__(name: str) -> Any:
    for path in METHODS.values():
        module, attribute = path.split(":")
        if attribute == name:
            return getattr(import_module(module), attribute)
    raise AttributeError(f"module 'ssl_core.models' has no attribute {name!r}")
