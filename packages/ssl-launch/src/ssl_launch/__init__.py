"""ssl-launch: the command line, sweeps and SLURM jobs.

Names are imported at first use, so that ``stable-ssl ls`` does not import Hydra.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl_launch.commands.evaluate import evaluate
    from ssl_launch.commands.train import launch, main

__all__ = ["evaluate", "launch", "main"]

_HOME = {"evaluate": "commands.evaluate", "launch": "commands.train", "main": "commands.train"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"ssl_launch.{_HOME[name]}"), name)
    raise AttributeError(f"module 'ssl_launch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
