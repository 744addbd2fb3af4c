"""From a source to batches of views: the same ones on every machine."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_data.fused import FusedView
from ssl_data.order import epoch_order
from ssl_data.parameters import sample_parameters
from ssl_data.prefetch import Job, made_ahead
from ssl_data.sources.source import Source
from ssl_data.threads import available_threads
from ssl_data.view_spec import ViewSpec

Batch = tuple[list[Tensor], Tensor, Tensor]
AHEAD = 2  # batches that are being made while one is used


class Loader:
    """Gives the batches of a source, epoch after epoch; its whole state is ``(epoch, step)``.

    The global batch at a step is a pure function of (seed, epoch, step): the same samples and the same pixels for any
    number of threads and ranks.

    Parameters
    ----------
    source : Source
        The stored samples.
    views : sequence of ViewSpec
        V views of each sample.
    batch_size : int
        Samples a step, over all ranks.
    shuffle : bool
        A new order each epoch; else that of the source.
    seed : int
        Of the order and of the views.
    drop_last : bool
        Leave out the samples that do not fill a batch. Otherwise the last batch is smaller and dealt out over the
        ranks, so that every sample is seen exactly once.
    rank, world_size : int
        This process among those that share the batch.
    num_workers : int, optional
        Threads that make the views; default: one for each processor that this process may use.

    Yields
    ------
    views : list of Tensor
        V tensors ``(n, C, size, size) float32``, channels_last, normalised; yours to keep and to change.
    labels : Tensor
        ``(n,) int64``.
    indices : Tensor
        ``(n,) int64``: the samples' ids.

    Raises
    ------
    ValueError
        For a batch that is larger than the source (with ``drop_last``), or that the ranks cannot share evenly.

    Examples
    --------
    >>> import numpy as np
    >>> from ssl_data import ArraySource, Loader, views
    >>> source = ArraySource(np.zeros((10, 32, 32, 3), np.uint8), np.arange(10) % 2)
    >>> images, labels, indices = next(iter(Loader(source, views("simclr", size=32), batch_size=4)))
    >>> [tuple(view.shape) for view in images], tuple(labels.shape)
    ([(4, 3, 32, 32), (4, 3, 32, 32)], (4,))
    """

    def __init__(
        self,
        source: Source,
        views: Sequence[ViewSpec],
        batch_size: int,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = True,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int | None = None,
    ) -> None:
        if batch_size < 1 or not 0 <= rank < world_size:
            raise ValueError(
                f"expected batch_size >= 1 and 0 <= rank < world_size, got {batch_size}, {rank}, {world_size}"
            )
        if not 0 <= seed < 2**64:
            raise ValueError(f"hardware.seed={seed}: expected 0 to 2**64 - 1")
        if drop_last:
            check_batch_size(batch_size, len(source), world_size)
        self.source = source
        self.views = list(views)
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.rank = rank
        self.world_size = world_size
        self.num_workers = available_threads() if num_workers is None or num_workers < 1 else num_workers
        self._epoch, self._step = 0, 0
        self._channels = source.image(0).shape[2]
        self._fused = [FusedView(spec, self._channels) for spec in self.views]

    def __len__(self) -> int:
        """Return the batches of an epoch."""
        full, rest = divmod(len(self.source), self.batch_size)
        return full if self.drop_last or not rest else full + 1

    def start(self, epoch: int, step: int = 0) -> "Loader":
        """Let the next iteration begin at batch ``step`` of ``epoch``, at once; return the loader.

        Raises
        ------
        ValueError
            For a negative epoch, or a step that the epoch has not (its length is allowed: nothing is left of it).
        """
        if epoch < 0 or not 0 <= step <= len(self):
            raise ValueError(f"expected epoch >= 0 and 0 <= step <= {len(self)}, got epoch {epoch}, step {step}")
        self._epoch, self._step = epoch, step
        return self

    def __iter__(self) -> Iterator[Batch]:
        """Give the rest of the epoch. However it ends, the next iteration is the next epoch."""
        epoch, first = self._epoch, self._step
        self._epoch, self._step = epoch + 1, 0
        return made_ahead(self._jobs(epoch, first), self.num_workers, AHEAD)

    def _jobs(self, epoch: int, first: int) -> Iterator[Job[Batch]]:
        order = epoch_order(self.source.ids, self.seed, epoch) if self.shuffle else np.arange(len(self.source))
        pin = torch.cuda.is_available()  # then copies to the device need not wait
        for step in range(first, len(self)):
            whole = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield self._job(np.array_split(whole, self.world_size)[self.rank], epoch, pin)

    def _job(self, positions: NDArray[np.int64], epoch: int, pin: bool) -> Job[Batch]:
        """Return a batch of the samples at ``positions``, and the calls that make their views: a stretch of them each."""
        ids, n = self.source.ids[positions], len(positions)
        buffers = [torch.empty((n, *view.shape), pin_memory=pin) for view in self._fused]
        images = self.source.images

        def fill(stretch: slice) -> None:
            if images is not None:
                for number, (view, out) in enumerate(zip(self._fused, buffers)):
                    drawn = sample_parameters(view.spec, self.seed, epoch, ids[stretch], number, *images.shape[1:3])
                    view.fill(images, positions[stretch], drawn, out[stretch])
                return
            for at in range(stretch.start, stretch.stop):  # images of any size: one decode for all views
                image = np.ascontiguousarray(self.source.image(int(positions[at])))[None]
                if image.shape[3] != self._channels:
                    raise ValueError(f"sample {ids[at]} has {image.shape[3]} channels, the first has {self._channels}")
                for number, (view, out) in enumerate(zip(self._fused, buffers)):
                    drawn = sample_parameters(view.spec, self.seed, epoch, ids[at], number, *image.shape[1:3])
                    view.fill(image, _FIRST, drawn, out[at : at + 1])

        calls = [partial(fill, stretch) for stretch in _stretches(n, self.num_workers, 1 if images is None else 16)]
        views = [buffer.permute(0, 3, 1, 2) for buffer in buffers]  # (n, C, size, size), channels_last in memory
        return (views, torch.from_numpy(self.source.labels[positions]), torch.from_numpy(ids)), calls


_FIRST = np.zeros(1, np.int64)


def _stretches(count: int, num_workers: int, at_least: int) -> list[slice]:
    """Cut a batch into four stretches a thread, so that none waits long for another, of ``at_least`` samples each."""
    number = max(1, min(4 * num_workers, count // at_least))
    bounds = np.linspace(0, count, number + 1).astype(int).tolist()
    return [slice(a, b) for a, b in pairwise(bounds) if a < b]


def check_batch_size(batch_size: int, samples: int, world_size: int) -> None:
    """Raise a ValueError for a batch that ``samples`` do not fill, or that the ranks cannot share evenly."""
    if batch_size > samples:
        raise ValueError(f"optim.batch_size={batch_size}: larger than the data set, which has {samples} samples")
    if batch_size % world_size:
        raise ValueError(f"optim.batch_size={batch_size}: {world_size} ranks cannot share it evenly; take a multiple")
