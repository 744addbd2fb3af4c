"""The line at the bottom of the terminal: loss, images per second, time left."""

import sys

from tqdm import tqdm

from ssl_core.config import Config
from ssl_core.distributed.ranks import Distributed
from ssl_core.run.progress import Progress
from ssl_eval.output_stream import OutputStream


class ProgressBar:
    """A bar over the batches of the whole run; silent where there is no terminal.

    Parameters
    ----------
    total : int
        Batches of the whole run.
    done : int
        Batches done before (a resumed run).
    batch_size : int
        Samples a batch, over all ranks: the rate is shown in images per second.
    enabled : bool
        ``log.progress``, and only on the main rank.
    """

    def __init__(self, total: int, done: int, batch_size: int, enabled: bool) -> None:
        self._bar = tqdm(
            total=total * batch_size,
            initial=done * batch_size,
            unit=" img",
            unit_scale=True,
            file=OutputStream(sys.stderr) if sys.stderr else None,  # a terminal that was closed does not end the run
            disable=None if enabled and sys.stderr else True,  # None: only where stderr is a terminal
            dynamic_ncols=True,
            smoothing=0.1,
        )
        self._batch_size = batch_size

    @classmethod
    def of(cls, config: Config, batches_per_epoch: int, progress: Progress, distributed: Distributed) -> "ProgressBar":
        """Return the bar of a run, at the place where it stands."""
        batches = config.optim.epochs * batches_per_epoch
        done = progress.epoch * batches_per_epoch + progress.batch
        return cls(batches, done, config.optim.batch_size, config.log.progress and distributed.is_main)

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def advance(self) -> None:
        """One batch is done."""
        self._bar.update(self._batch_size)

    def show(self, epoch: int, loss: float) -> None:
        """Show where the run stands; called only when the loss is on the host anyway."""
        self._bar.set_description_str(f"epoch {epoch + 1}", refresh=False)
        self._bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
