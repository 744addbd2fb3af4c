"""The methods, by name. A method is a :class:`~ssl_core.BaseModel`; the keys of all of them stand in ``configs.py``."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ssl_core.config import ModelConfig
from ssl_core.config.suggestion import did_you_mean
from ssl_core.errors import ConfigError
from ssl_core.methods.configs import CONFIGS

if TYPE_CHECKING:
    from ssl_core.base_model import BaseModel
    from ssl_core.methods.barlow_twins import BarlowTwins
    from ssl_core.methods.baseline import Baseline
    from ssl_core.methods.simclr import SimCLR
    from ssl_core.methods.supervised import Supervised
    from ssl_core.methods.vicreg import VICReg
    from ssl_core.methods.w_mse import WMSE

# name -> "module:Class"; loaded when it is asked for
METHODS: dict[str, str] = {
    "barlow_twins": "ssl_core.methods.barlow_twins:BarlowTwins",
    "baseline": "ssl_core.methods.baseline:Baseline",
    "simclr": "ssl_core.methods.simclr:SimCLR",
    "supervised": "ssl_core.methods.supervised:Supervised",
    "vicreg": "ssl_core.methods.vicreg:VICReg",
    "w_mse": "ssl_core.methods.w_mse:WMSE",
}

__all__ = [
    "METHODS",
    "WMSE",
    "BarlowTwins",
    "Baseline",
    "SimCLR",
    "Supervised",
    "VICReg",
    "config_class",
    "method_class",
]


def method_class(name: str) -> "type[BaseModel]":
    """Return the class of a method.

    Raises
    ------
    ConfigError
        If ``name`` is none of :data:`METHODS`.
    """
    _refuse_unknown(name)
    module, attribute = METHODS[name].split(":")
    return getattr(import_module(module), attribute)


def config_class(name: str) -> type[ModelConfig]:
    """Return the dataclass of a method's keys, without importing torch.

    Raises
    ------
    ConfigError
        If ``name`` is none of :data:`METHODS`.
    """
    _refuse_unknown(name)
    return CONFIGS[name]


def _refuse_unknown(name: str) -> None:
    if name not in METHODS:
        hint = did_you_mean(name, METHODS, cutoff=0.5)
        raise ConfigError(f"model.name={name!r}: expected one of {', '.join(map(repr, METHODS))}{hint}")


def __getattr__(name: str) -> Any:
    for path in METHODS.values():
        module, attribute = path.split(":")
        if attribute == name:
            return getattr(import_module(module), attribute)
    raise AttributeError(f"module 'ssl_core.methods' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
