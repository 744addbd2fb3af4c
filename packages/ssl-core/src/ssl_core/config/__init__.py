"""Configuration: the dataclasses of the five groups and their validation. Nothing here imports torch."""

from ssl_core.config.schema import (
    GROUPS,
    OPTIMIZERS,
    Config,
    HardwareConfig,
    LogConfig,
    ModelConfig,
    OptimConfig,
    option,
)

__all__ = ["GROUPS", "OPTIMIZERS", "Config", "HardwareConfig", "LogConfig", "ModelConfig", "OptimConfig", "option"]
