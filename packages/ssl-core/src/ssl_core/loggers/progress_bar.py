"""The progress bar of a run: epoch, loss, images per second, time left."""

import sys
import uuid
from typing import Any

from tqdm import tqdm

from ssl_core.run.notebook import notebook_shell
from ssl_eval.output_stream import OutputStream


class NotebookOutput:
    """A text stream that shows only its newest line, in one output of a notebook cell that is replaced in place.

    It works without ipywidgets, and a saved notebook keeps one line. ``shell`` is IPython's.
    """

    encoding = "utf-8"

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._display = {"display_id": uuid.uuid4().hex}
        self._shown = False

    def write(self, text: str) -> None:
        """Replace the line."""
        line = text.strip()
        if line:
            data = {"text/plain": line}
            self._shell.display_pub.publish(data, transient=self._display, update=self._shown)
            self._shown = True

    def flush(self) -> None:
        """Do nothing: a line is shown when it is written."""

    def isatty(self) -> bool:
        """Return True: the line can be replaced, as on a terminal."""
        return True


class ProgressBar:
    """A bar over the batches of the whole run, on a terminal or in a notebook; nothing in a log file.

    Parameters
    ----------
    total : int
        Batches of the whole run.
    batch_size : int
        Samples per batch, over all ranks: the rate is in images per second.
    enabled : bool
        ``log.progress``, on the main rank only.
    """

    def __init__(self, total: int, batch_size: int, enabled: bool) -> None:
        shell = notebook_shell()
        file: Any = NotebookOutput(shell) if shell else sys.stderr and OutputStream(sys.stderr)
        self._bar = tqdm(
            total=total * batch_size,
            unit=" img",
            unit_scale=True,
            file=file,  # an OutputStream: the run continues when its terminal is closed
            disable=None if enabled and file else True,  # None: only where the file is a terminal
            ncols=100 if shell else None,
            dynamic_ncols=not shell,
            mininterval=0.5 if shell else 0.1,  # seconds between updates
            smoothing=0.1,
        )
        self._batch_size = batch_size

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def resume(self, done: int) -> None:
        """Start at a number of batches that earlier processes have trained on."""
        self._bar.n = self._bar.initial = done * self._batch_size
        self._bar.refresh()

    def advance(self) -> None:
        """Count one batch."""
        self._bar.update(self._batch_size)

    def show(self, epoch: int, loss: float) -> None:
        """Show epoch and loss from the next update on. Call it only when the loss is on the host anyway."""
        self._bar.set_description_str(f"epoch {epoch + 1}", refresh=False)
        self._bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
