"""From a source to batches of views: the same ones on every machine."""

import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_data.fused import fused_views
from ssl_data.order import epoch_order
from ssl_data.parameters import blur_kernel_size, packed
from ssl_data.sources.source import Source
from ssl_data.threads import available_threads
from ssl_data.view_spec import ViewSpec

Batch = tuple[list[Tensor], Tensor, Tensor]
AHEAD = 2  # batches that are made before they are asked for


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
        if drop_last and batch_size > len(source):
            raise ValueError(
                f"optim.batch_size={batch_size}: larger than the data set, which has {len(source)} samples"
            )
        if drop_last and batch_size % world_size:
            raise ValueError(
                f"optim.batch_size={batch_size}: {world_size} ranks cannot share it evenly; take a multiple"
            )
        self.source = source
        self.views = list(views)
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.rank = rank
        self.world_size = world_size
        self.num_workers = num_workers or available_threads()
        self._epoch, self._step = 0, 0
        channels = source.image(0).shape[2]
        self._executed = [_Executed(spec, channels) for spec in self.views]

    def __len__(self) -> int:
        """Return the batches of an epoch."""
        full, rest = divmod(len(self.source), self.batch_size)
        return full if self.drop_last or not rest else full + 1

    def start(self, epoch: int, step: int = 0) -> "Loader":
        """Let the next iteration begin at batch ``step`` of ``epoch``, at once; return the loader."""
        self._epoch, self._step = epoch, step
        return self

    def __iter__(self) -> Iterator[Batch]:
        """Give the rest of the epoch; the next iteration is the next epoch."""
        epoch, first = self._epoch, self._step
        yield from _ahead(self._batches(epoch, first))
        self._epoch, self._step = epoch + 1, 0

    def _batches(self, epoch: int, first: int) -> Iterator[Batch]:
        order = epoch_order(self.source.ids, self.seed, epoch) if self.shuffle else np.arange(len(self.source))
        with ThreadPoolExecutor(self.num_workers, thread_name_prefix="ssl-data") as pool:
            for step in range(first, len(self)):
                whole = order[step * self.batch_size : (step + 1) * self.batch_size]
                yield self._batch(np.array_split(whole, self.world_size)[self.rank], epoch, pool)

    def _batch(self, positions: NDArray[np.int64], epoch: int, pool: ThreadPoolExecutor) -> Batch:
        """Make the views of the samples at ``positions``: each thread takes a stretch of them, all views."""
        ids = self.source.ids[positions]
        n, pin = len(positions), torch.cuda.is_available()
        buffers = [torch.empty((n, *executed.shape), pin_memory=pin) for executed in self._executed]
        arrays = [buffer.numpy() for buffer in buffers]

        def fill(stretch: slice) -> None:
            for number, (executed, array) in enumerate(zip(self._executed, arrays)):
                executed.fill(self.source, positions[stretch], ids[stretch], self.seed, epoch, number, array[stretch])

        def decode(stretch: slice) -> None:  # images of any size: one decode for all views
            for at in range(stretch.start, stretch.stop):
                image = self.source.image(int(positions[at]))[None]
                for number, (executed, array) in enumerate(zip(self._executed, arrays)):
                    executed.run(image, _FIRST, ids[at : at + 1], self.seed, epoch, number, array[at : at + 1])

        bounds = np.linspace(0, n, self.num_workers + 1).astype(int).tolist()
        stretches = [slice(a, b) for a, b in pairwise(bounds) if a < b]
        work = fill if self.source.images is not None else decode
        for done in [pool.submit(work, stretch) for stretch in stretches]:
            done.result()
        views = [buffer.permute(0, 3, 1, 2) for buffer in buffers]  # (n, C, size, size), channels_last in memory
        return views, torch.from_numpy(self.source.labels[positions]), torch.from_numpy(ids)


_FIRST = np.zeros(1, np.int64)


class _Executed:
    """A spec as the compiled code takes it."""

    def __init__(self, spec: ViewSpec, channels: int) -> None:
        self.shape = (spec.size, spec.size, channels)
        self._spec = packed(spec)
        self._kernel_size = blur_kernel_size(spec.size)
        self._mean = np.broadcast_to(np.array(spec.mean, np.float32), channels).copy()
        self._inverse_std = 1 / np.broadcast_to(np.array(spec.std, np.float32), channels)

    def fill(
        self,
        source: Source,
        positions: NDArray[Any],
        ids: NDArray[Any],
        seed: int,
        epoch: int,
        view: int,
        out: NDArray[Any],
    ) -> None:
        """Make one view of samples that lie in memory."""
        assert source.images is not None
        self.run(source.images, positions, ids, seed, epoch, view, out)

    def run(
        self,
        images: NDArray[Any],
        rows: NDArray[Any],
        ids: NDArray[Any],
        seed: int,
        epoch: int,
        view: int,
        out: NDArray[Any],
    ) -> None:
        """Call the compiled code: views of ``images[rows]`` into ``out``."""
        fused_views(
            images, rows, self._spec, self._kernel_size, self._mean, self._inverse_std, seed, epoch, ids, view, out
        )


def _ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Give what ``batches`` gives, made in a thread up to ``AHEAD`` batches before it is asked for.

    The thread ends when the last batch is taken, when the consumer stops early, and when it fails: its error is raised
    in the consumer.
    """
    made: queue.Queue[Any] = queue.Queue(maxsize=AHEAD)
    stopped = threading.Event()
    end = object()

    def put(item: Any) -> bool:
        while not stopped.is_set():
            try:
                made.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def produce() -> None:
        try:
            for batch in batches:
                if not put(batch):
                    return
            put(end)
        except BaseException as error:
            put(error)
        finally:
            batches.close()  # type: ignore[attr-defined]

    thread = threading.Thread(target=produce, name="ssl-data-ahead", daemon=True)
    thread.start()
    try:
        while (item := made.get()) is not end:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()
