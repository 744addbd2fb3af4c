"""The loader: batches of views from a source, equal on every machine."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ssl_data.augment.view_spec import ViewSpec
from ssl_data.batch import Batch
from ssl_data.loading.batches import make_batches
from ssl_data.loading.prefetch import Job, prefetched
from ssl_data.loading.ranks import check_batch_size
from ssl_data.loading.resumable import ResumableLoader, with_crops
from ssl_data.loading.shuffle import epoch_order
from ssl_data.loading.worker_batches import WorkerBatches
from ssl_data.sources.fingerprint import fingerprint
from ssl_data.sources.source import Source

AHEAD = 2  # batches that are being made while one is used


class Loader(ResumableLoader):
    """Iterates over the batches of a source, one epoch per iteration; its whole state is ``(epoch, step)``.

    The global batch at a step is a pure function of (seed, epoch, step): the same samples and the same pixels for any
    number of threads and ranks.

    The position is read and moved when the first batch of an iterator is taken: ``iter(loader)`` alone changes nothing.
    However an iteration ends, the next one is the next epoch. :meth:`start`, :meth:`set_epoch` and :meth:`load_state_dict`
    set another position. The methods have the form that Lightning, Accelerate and torchdata use (recipes: README).

    Parameters
    ----------
    source : Source
        The stored samples.
    views : sequence of ViewSpec, or of callables
        V views of each sample. A callable is a function ``(sample, generator)``, or a pipeline ``(sample)`` of torchvision,
        albumentations or kornia: see :class:`ssl_data.augment.functions.FunctionView`.
    batch_size : int
        Number of samples in a batch, over all ranks.
    shuffle : bool
        Whether each epoch has a new order; otherwise the order is that of the source.
    seed : int
        Random seed of the order and of the views.
    drop_last : bool
        Leave out the samples that do not fill a batch. Otherwise the last batch is smaller and dealt out over the
        ranks, so that every sample is seen exactly once.
    rank, world_size : int, optional
        Number of this process, and of processes that share a batch. Default: 0 and 1, with a warning at the first batch if a
        process group of several processes exists: each of them would get all samples.
    num_workers : int, optional
        Threads that make the views; default: one for each processor that this process may use, at most 8 for each. For
        views that are callables: processes (0: this process), which a shuffled loader keeps from one epoch to the next.
    dtype : torch.dtype
        dtype of the views: float32, or bfloat16, which halves memory and transfers to a device.
    device : device, optional
        Keep the images there, and make the batches there (``ssl_data.augment.backends.gpu``): for sources in memory that fit.
        Default: make them on the CPU (``ssl_data.augment.backends.cpu``); the caller moves them. Views are the same, up to the
        rounding of float32.
    return_parameters : bool
        Whether batches also contain the parameters of the views, for methods that predict them.
    batch_transform : callable, optional
        ``batch_transform(batch, generator)`` returns the batch to use instead, e.g. with mixed images. It is called in this
        process, on the device of the batch, with this rank's part of it. The ``torch.Generator`` is a function of (seed, epoch,
        step, rank, number of ranks): unlike a view, what it draws changes with the number of ranks.

    Yields
    ------
    views : list of Tensor
        V tensors ``(n, C, size, size)`` of ``dtype``, channels_last, normalised; owned by the caller, who may change them. For
        callables ``(n, ...)``, as they return them.
    labels : Tensor
        ``(n,) int64``, -1 for no label.
    indices : Tensor
        ``(n,) int64``: the samples' ids.
    parameters : list of dict
        Only with ``return_parameters``: for each view its columns by name, ``(n,)`` each, as :mod:`ssl_data.augment.sampling`
        describes them.

    Raises
    ------
    ValueError
        For a batch that is larger than the source (with ``drop_last``), or that the ranks cannot share evenly; for another
        ``dtype``; for a ``device`` and a source that is not in memory.

    Examples
    --------
    >>> import numpy as np
    >>> from ssl_data import ArraySource, Loader, views
    >>> source = ArraySource(np.zeros((10, 32, 32, 3), np.uint8), np.arange(10) % 2)
    >>> images, labels, indices = next(iter(Loader(source, views("simclr", size=32), batch_size=4)))
    >>> [tuple(view.shape) for view in images], tuple(labels.shape)
    ([(4, 3, 32, 32), (4, 3, 32, 32)], (4,))
    >>> *_, parameters = next(iter(Loader(source, views("simclr", size=32), batch_size=4, return_parameters=True)))
    >>> tuple(parameters[0]["hue"].shape)
    (4,)
    """

    def __init__(
        self,
        source: Source,
        views: Sequence[ViewSpec] | Sequence[Callable[..., Any]],
        batch_size: int,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = True,
        rank: int | None = None,
        world_size: int | None = None,
        num_workers: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
        return_parameters: bool = False,
        batch_transform: Callable[[Batch, torch.Generator], Batch] | None = None,
    ) -> None:
        super().__init__(list(views), batch_size, seed, rank, world_size, num_workers, dtype, batch_transform)
        if drop_last:
            check_batch_size(batch_size, len(source), self.world_size)
        self.source = source
        self.shuffle = shuffle
        self.drop_last = drop_last
        self._positions: NDArray[np.int64] | None = None  # of the source's samples; None: all of them
        options = (dtype, self.num_workers, device, return_parameters)
        self._batches = make_batches(source, self.views, seed, *options, persistent_workers=shuffle)

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        full, rest = divmod(self._identity()["num_samples"], self.batch_size)
        return full if self.drop_last or not rest else full + 1

    @property
    def labels(self) -> NDArray[np.int64]:
        """The labels ``(M,) int64`` of all samples, in the order of the source; -1 for no label."""
        return self.source.labels if self._positions is None else self.source.labels[self._positions]

    def subset(self, positions: ArrayLike) -> "Loader":
        """Return a loader of some samples only, with the same views, batch size and ranks.

        Parameters
        ----------
        positions : array
            ``(m,) int64``: indices into :attr:`labels`.
        """
        part = copy.copy(self)
        chosen = np.asarray(positions, np.int64)
        part._positions = chosen if self._positions is None else self._positions[chosen]
        if self.drop_last:
            check_batch_size(self.batch_size, len(chosen), self.world_size)
        return part.start(0)

    def in_order(self) -> "Loader":
        """Return a loader that gives every sample once, in the order of the source, with the same views of each epoch."""
        whole = copy.copy(self)
        whole.shuffle = whole.drop_last = False
        return whole.start(0)

    def view_shapes(self) -> list[tuple[int, ...]]:
        """Return the shape of each view of a sample, such as ``(C, size, size)``; of functions, that for the first sample."""
        if isinstance(self._batches, WorkerBatches):
            return self._batches.shapes()
        channels = self.source.image(0).shape[2]
        return [(channels, spec.size, spec.size) for spec in self.views]

    def fingerprint(self) -> dict[str, Any]:
        """Return number of samples, class names and digests of labels and images: the same on every rank and machine."""
        return fingerprint(self.source)

    def _identity(self) -> dict[str, int]:
        samples = len(self.source) if self._positions is None else len(self._positions)
        return {"seed": self.seed, "batch_size": self.batch_size, "num_samples": samples}

    def _made(self, epoch: int, first: int) -> Iterator[Batch]:
        steps = self._steps(epoch, first)
        if isinstance(self._batches, WorkerBatches):
            return self._batches.iterate(steps, epoch)
        return (batch() for batch in prefetched(self._jobs(steps, epoch), self.num_workers, AHEAD))

    def _steps(self, epoch: int, first: int) -> Iterator[NDArray[np.int64]]:
        """Yield the positions of this rank's samples, a batch each."""
        positions = np.arange(len(self.source)) if self._positions is None else self._positions
        order = positions[epoch_order(self.source.ids[positions], self.seed, epoch)] if self.shuffle else positions
        for step in range(first, len(self)):
            whole = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield np.array_split(whole, self.world_size)[self.rank]

    def _jobs(self, steps: Iterable[NDArray[np.int64]], epoch: int) -> Iterator[Job[Callable[[], Batch]]]:
        assert not isinstance(self._batches, WorkerBatches)
        for positions in steps:
            batch, calls = self._batches.job(positions, epoch)
            yield (partial(with_crops, batch) if self._crops else batch), calls
