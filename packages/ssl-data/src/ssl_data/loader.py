"""The loader: batches of views from a source, equal on every machine."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ssl_data.augment.columns import crops
from ssl_data.augment.seeding import view_seed
from ssl_data.augment.view_spec import ViewSpec
from ssl_data.batch import Batch
from ssl_data.errors import ArgumentError
from ssl_data.loading.batch_transform import BATCH, transformed
from ssl_data.loading.batches import make_batches
from ssl_data.loading.position import Position
from ssl_data.loading.prefetch import Job, prefetched
from ssl_data.loading.ranks import check_batch_size, warn_of_unknown_rank
from ssl_data.loading.shuffle import epoch_order
from ssl_data.loading.threads import bounded_threads
from ssl_data.loading.worker_batches import WorkerBatches
from ssl_data.sources.fingerprint import fingerprint
from ssl_data.sources.source import Source

AHEAD = 2  # batches that are being made while one is used


class Loader:
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
        Samples a step, over all ranks.
    shuffle : bool
        A new order each epoch; else that of the source.
    seed : int
        Of the order and of the views.
    drop_last : bool
        Leave out the samples that do not fill a batch. Otherwise the last batch is smaller and dealt out over the
        ranks, so that every sample is seen exactly once.
    rank, world_size : int, optional
        This process among those that share the batch. Default: 0 of 1, with a warning at the first batch if a process group
        of several processes exists: each of them would get all samples.
    num_workers : int, optional
        Threads that make the views; default: one for each processor that this process may use. At most 8 for each. Where
        the views are callables, processes; 0: this process.
    dtype : torch.dtype
        Of the views: float32, or bfloat16, which is half the memory and half the way to a device.
    device : device, optional
        Keep the images there, and make the batches there (``ssl_data.augment.backends.gpu``): for sources in memory that fit.
        Default: make them on the CPU (``ssl_data.augment.backends.cpu``); the caller moves them. Views are the same, up to the
        rounding of float32.
    return_parameters : bool
        Give the parameters of the views as well, for methods that predict them.
    batch_transform : callable, optional
        ``batch_transform(batch, generator)`` returns the batch to use instead, e.g. with mixed images. It is called in this
        process, on the device of the batch, with this rank's part of it. The ``torch.Generator`` is a function of (seed, epoch,
        step, rank, number of ranks): unlike a view, what it draws changes with the number of ranks.

    Yields
    ------
    views : list of Tensor
        V tensors ``(n, C, size, size)`` of ``dtype``, channels_last, normalised; yours to keep and to change. Of callables
        ``(n, ...)``, as they return them.
    labels : Tensor
        ``(n,) int64``.
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
        self._unranked = rank is None  # then several processes are worth a warning
        rank, world_size = rank or 0, world_size or 1
        if batch_size < 1:
            raise ArgumentError("batch_size", batch_size, "expected at least 1")
        if not 0 <= rank < world_size:
            raise ArgumentError("rank", rank, f"expected 0 <= rank < world_size={world_size}")
        if not 0 <= seed < 2**64:
            raise ArgumentError("seed", seed, "expected 0 to 2**64 - 1")
        if dtype not in (torch.float32, torch.bfloat16):
            raise ArgumentError("dtype", dtype, "expected torch.float32 or torch.bfloat16")
        if drop_last:
            check_batch_size(batch_size, len(source), world_size)
        self.source = source
        self.views: list[Any] = list(views)
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.rank = rank
        self.world_size = world_size
        self.batch_transform = batch_transform
        self._positions: NDArray[np.int64] | None = None  # of the source's samples; None: all of them
        self._position = Position()
        self._crops = False  # whether batches end with the crops of their views
        self.num_workers = 0 if num_workers == 0 and any(map(callable, self.views)) else bounded_threads(num_workers)
        self._batches = make_batches(source, self.views, seed, dtype, self.num_workers, device, return_parameters)

    def __len__(self) -> int:
        """Return the batches of an epoch."""
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

    def with_crops(self) -> "Loader":
        """Return a loader of the same batches that end with the crops of the views: V tensors ``(n, 5) float32``.

        Their columns are top, left, height and width of the box of the stored image that became the view, in its pixels,
        and 1 where the view is mirrored left to right.

        Raises
        ------
        ValueError
            For views that are rotated, sheared, shifted or zoomed, or made by functions: they are no boxes of the image.
        """
        if isinstance(self._batches, WorkerBatches):
            raise ValueError(
                "views of functions have no boxes in the image; expected crops, such as the preset 'vicreg'"
            )
        moved = next((number for number, spec in enumerate(self.views) if spec.affine or spec.moves_pixels), None)
        if moved is not None:
            raise ValueError(
                f"view {moved} is rotated, sheared, shifted, zoomed or flipped vertically, and so has no box in the image; "
                "expected views that are crops, such as the preset 'vicreg'"
            )
        part = copy.copy(self)
        part._batches = self._batches.with_parameters()
        part._position, part._crops = copy.copy(self._position), True
        return part

    def view_shapes(self) -> list[tuple[int, ...]]:
        """Return the shape of each view of a sample, such as ``(C, size, size)``; of functions, that for the first sample."""
        if isinstance(self._batches, WorkerBatches):
            return self._batches.shapes()
        channels = self.source.image(0).shape[2]
        return [(channels, spec.size, spec.size) for spec in self.views]

    def fingerprint(self) -> dict[str, Any]:
        """Return number of samples, class names and digests of labels and images: the same on every rank and machine."""
        return fingerprint(self.source)

    def start(self, epoch: int, step: int = 0) -> "Loader":
        """Set the position of the next iteration to batch ``step`` of ``epoch``; return the loader.

        Raises
        ------
        ValueError
            For a negative epoch, or a step that the epoch has not (its length is allowed: nothing is left of it).
        """
        if epoch < 0 or not 0 <= step <= len(self):
            raise ValueError(f"expected epoch >= 0 and 0 <= step <= {len(self)}, got epoch {epoch}, step {step}")
        self._position = Position(epoch, step)
        return self

    def set_epoch(self, epoch: int) -> None:
        """Begin the next iteration with ``epoch``.

        Directly after :meth:`start` or :meth:`load_state_dict` a step in the middle is kept if the epoch is the one of
        ``start``, or the one that was set when the state was saved: then the loop continues that epoch.
        """
        self._position.set_epoch(epoch)

    def state_dict(self) -> dict[str, int | None]:
        """Return the position after the last batch that was taken, with the options that give it a meaning."""
        return self._position.state_dict() | self._identity()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Set the position of the next iteration to that of a state, saved on any number of ranks.

        Raises
        ------
        ValueError
            For the state of a loader with another seed, batch size or number of samples.
        """
        for name, value in self._identity().items():
            if state_dict[name] != value:
                raise ArgumentError(name, value, f"the state is of a loader with {name}={state_dict[name]!r}")
        self._position = Position.restored(state_dict)

    def _identity(self) -> dict[str, int]:
        samples = len(self.source) if self._positions is None else len(self._positions)
        return {"seed": self.seed, "batch_size": self.batch_size, "num_samples": samples}

    @property
    def sampler(self) -> "Loader":
        """The loader itself: Lightning calls ``loader.sampler.set_epoch(epoch)`` before each epoch."""
        return self

    batch_sampler = None  # for Lightning, which looks for it where there is a sampler

    def __iter__(self) -> Iterator[Batch]:
        """Give the rest of the epoch; the position moves with the batches that are taken."""
        yield from self._position.follow(self._batches_of, len(self))

    def _batches_of(self, epoch: int, first: int) -> Iterator[Batch]:
        if self._unranked:
            self._unranked = not warn_of_unknown_rank()  # once
        steps = self._steps(epoch, first)
        if isinstance(self._batches, WorkerBatches):
            batches = self._batches.iterate(steps, epoch)
        else:
            batches = (batch() for batch in prefetched(self._jobs(steps, epoch), self.num_workers, AHEAD))
        if self.batch_transform is None:
            return batches
        seeds = (self._batch_seed(epoch, step) for step in count(first))
        return transformed(batches, self.batch_transform, seeds)

    def _batch_seed(self, epoch: int, step: int) -> int:
        return view_seed(self.seed, epoch, step * self.world_size + self.rank, BATCH)

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
            yield (partial(_cropped, batch) if self._crops else batch), calls


def _cropped(batch: Callable[[], Batch]) -> Batch:
    """Return a batch with crops for the parameters of its views."""
    *parts, parameters = batch()
    return *parts, [crops(view) for view in parameters]
