"""The sinks that the configuration asks for."""

from ssl_core.config import LogConfig
from ssl_core.loggers.metrics_logger import Sink
from ssl_core.loggers.tensorboard import TensorBoardSink
from ssl_core.loggers.wandb.sink import WandbSink
from ssl_core.run.folder import RunFolder


def configured_sinks(folder: RunFolder, log: LogConfig) -> list[Sink]:
    """Return the sinks that ``log.wandb`` and ``log.tensorboard`` ask for."""
    sinks: list[Sink] = []
    if log.wandb != "off":
        sinks.append(WandbSink(folder, log))
    if log.tensorboard:
        sinks.append(TensorBoardSink(folder))
    return sinks
