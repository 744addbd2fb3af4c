"""TensorBoard as a sink: event files in ``<run>/tensorboard``, for ``tensorboard --logdir outputs``."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ssl_core.errors import ConfigError
from ssl_core.run.folder import RunFolder


class TensorBoardSink:
    """Writes the metrics and images of a run as TensorBoard events. Raises a ConfigError if tensorboard is not installed."""

    def __init__(self, folder: RunFolder) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                "log.tensorboard=true: tensorboard is not installed; pip install tensorboard, or log.tensorboard=false"
            ) from error
        self.folder = folder
        self._writer_class = SummaryWriter
        self._writer: Any = None
        self._logged = False

    def log(self, step: int, values: dict[str, float]) -> None:
        """Write the metrics of a step as scalars."""
        writer = self._open(step)
        if not self._logged:  # the line may have values from before a resume, whose events are hidden now
            values = {**self.folder.read_metrics()[-1], **values}
            self._logged = True
        for name, value in values.items():
            if name != "step":
                writer.add_scalar(name, value, step)
        writer.flush()  # so that a killed run keeps the events before its checkpoint

    def log_image(self, step: int, name: str, path: Path) -> None:
        """Write a PNG file."""
        with Image.open(path) as image:
            self._open(step).add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")

    def close(self) -> None:
        """Write the rest and close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self, step: int) -> Any:
        """Return the writer, which hides events of earlier processes from this step on: the run was resumed before them."""
        if self._writer is None:
            self._writer = self._writer_class(str(self.folder.tensorboard), purge_step=step)
        return self._writer
