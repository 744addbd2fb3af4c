"""ssl-core: training of self-supervised methods: loop, run folder, checkpoints, optimizers, evaluation.

Names are loaded when they are first used, so that reading a configuration does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl_core.base_model import BaseModel
    from ssl_core.config import Config, HardwareConfig, LogConfig, ModelConfig, OptimConfig
    from ssl_core.errors import (
        CheckpointError,
        ConfigError,
        DiskError,
        DivergedError,
        MethodError,
        Preempted,
        RunError,
        RunFolderError,
    )
    from ssl_core.modules.ema import Teacher
    from ssl_core.run.folder import RunFolder

_HOME = {
    "BaseModel": "base_model",
    "CheckpointError": "errors",
    "Config": "config",
    "ConfigError": "errors",
    "DiskError": "errors",
    "DivergedError": "errors",
    "HardwareConfig": "config",
    "LogConfig": "config",
    "MethodError": "errors",
    "ModelConfig": "config",
    "OptimConfig": "config",
    "Preempted": "errors",
    "RunError": "errors",
    "RunFolder": "run.folder",
    "RunFolderError": "errors",
    "Teacher": "modules.ema",
}

__all__ = [
    "BaseModel",
    "CheckpointError",
    "Config",
    "ConfigError",
    "DiskError",
    "DivergedError",
    "HardwareConfig",
    "LogConfig",
    "MethodError",
    "ModelConfig",
    "OptimConfig",
    "Preempted",
    "RunError",
    "RunFolder",
    "RunFolderError",
    "Teacher",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"ssl_core.{_HOME[name]}"), name)
    raise AttributeError(f"module 'ssl_core' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
