"""Batches whose views are made by functions, in worker processes of ``torch.utils.data.DataLoader``."""

import contextlib
import gc
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate, get_worker_info

from ssl_data.augment.functions import SAMPLE, FunctionView, SampleError, make_views
from ssl_data.augment.seeding import preserved_generators, view_seeds
from ssl_data.batch import Batch
from ssl_data.sources.adapters.samples import name_of, read_sample
from ssl_data.sources.source import Source

_AHEAD = 2  # batches that a worker makes ahead
_Key = tuple[int, NDArray[np.int64], Source | None]  # epoch, positions, source; None: that of the worker


class WorkerBatches:
    """Makes the batches of a source by functions: each view is seeded by (seed, epoch, index, view).

    The workers are processes with a copy of the source and the functions. They end when an iteration is left early, and when
    this object is deleted.

    Parameters
    ----------
    source : Source
        The stored samples. A function gets ``source.sample(position)`` where the source has it, else the image as a PIL
        image.
    functions : sequence of callable
        See :class:`~ssl_data.augment.functions.FunctionView`.
    seed : int
        Random seed of the views.
    dtype : torch.dtype
        dtype of the views: float32 or bfloat16.
    num_workers : int
        Processes; 0: this one.
    persistent : bool
        Keep the workers from one epoch to the next: starting two takes 0.1 s of the processor's time, and several seconds
        where processes are not forked.
    """

    def __init__(
        self,
        source: Source,
        functions: Sequence[Callable[..., Any]],
        seed: int,
        dtype: torch.dtype,
        num_workers: int,
        persistent: bool,
    ) -> None:
        self._source, self._num_workers, self._persistent = source, num_workers, persistent and num_workers > 0
        self._idle: list[DataLoader[Any]] = []  # whose workers wait for the next epoch
        view_seeds(
            seed, 0, np.zeros(1, np.int64), [0]
        )  # loads compiled code once: workers are forked from this process
        self._samples = _Samples(source, functions, seed, dtype)

    def shapes(self) -> list[tuple[int, ...]]:
        """Return the shape of each view of the first sample."""
        made = self._samples[0, np.zeros(1, np.int64), None]
        return [tuple(view.shape[1:]) for view in _checked(made)]

    def iterate(self, steps: Iterable[NDArray[np.int64]], epoch: int) -> Iterator[Batch]:
        """Yield the batch of the samples at the positions of each step.

        Raises
        ------
        SampleError
            If a view cannot be made, with the id of its sample.
        ValueError
            If data set or functions cannot be sent to a worker process.
        """
        due = list(steps)
        loader, batches = self._started([(epoch, positions, None) for positions in due], self._persistent)
        try:
            for step, (positions, made) in enumerate(zip(due, batches), 1):
                views = _checked(made)
                if self._persistent and step == len(due):
                    self._idle.append(loader)
                yield views, *_labels_and_ids(self._source, positions)
        finally:
            del loader, batches  # workers that are not idle end here: the traceback of an error would keep them

    def iterate_sources(self, sources: Iterable[Source], epoch: int) -> Iterator[Batch]:
        """Yield the batch of all samples of each source, which are sent to the workers; errors as of :meth:`iterate`."""
        sent: deque[Source] = deque()

        def keys() -> Iterator[_Key]:
            for source in sources:  # read as workers are free
                sent.append(source)
                yield epoch, np.arange(len(source)), source

        loader, batches = self._started(keys(), False)
        try:
            for made in batches:
                source = sent.popleft()
                yield _checked(made), *_labels_and_ids(source, np.arange(len(source)))
        finally:
            del loader, batches

    def _started(self, keys: Iterable[_Key], persistent: bool) -> tuple[DataLoader[Any], Iterator[Any]]:
        """Return a DataLoader and its iterator over ``keys``: an idle one, if its workers are alive."""
        if persistent and self._idle:
            loader = self._idle.pop()
            loader.sampler[:] = keys  # type: ignore[index]
            with contextlib.suppress(RuntimeError):  # its workers have ended, e.g. by Ctrl-C
                return loader, iter(loader)
        loader = DataLoader(
            self._samples,
            batch_size=None,  # an item is a batch
            sampler=keys,
            num_workers=self._num_workers,
            collate_fn=_unchanged,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_freeze,
            prefetch_factor=_AHEAD if self._num_workers else None,
            persistent_workers=persistent,
            generator=torch.Generator(),  # else the loader draws from the global one
        )
        try:
            return loader, iter(loader)
        except SampleError:  # of a stream
            raise
        except Exception as error:  # pickle raises errors of many types
            if not self._num_workers:
                raise
            raise ValueError(
                f"num_workers={self._num_workers}: the data set or a view cannot be sent to a worker process "
                f"({type(error).__name__}: {error}); define its classes and functions at the top level of a module, or set "
                "num_workers=0"
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_idle": []}


class _Samples(Dataset[Any]):
    """Gives the views of ``(epoch, positions, source)``; an error is returned, so that it crosses processes as one line."""

    def __init__(self, source: Source, functions: Sequence[Callable[..., Any]], seed: int, dtype: torch.dtype) -> None:
        self.source, self.seed, self.dtype = source, seed, dtype
        self.functions = list(map(FunctionView, functions))

    def __getitem__(self, key: _Key) -> "list[Tensor] | _Failure":
        epoch, positions, source = key
        source = self.source if source is None else source
        try:
            if get_worker_info() is not None:
                return self._batch(source, epoch, positions)
            with preserved_generators():
                return self._batch(source, epoch, positions)
        except SampleError as error:
            return _Failure(str(error), "".join(traceback.format_exception(error.__cause__ or error)))

    def _batch(self, source: Source, epoch: int, positions: NDArray[np.int64]) -> list[Tensor]:
        if not len(positions):  # a rank without samples in the last batch of an epoch
            return [view[:0] for view in self._batch(source, epoch, np.zeros(1, np.int64))]
        ids = source.ids[positions]
        seeds = view_seeds(self.seed, epoch, ids, [*range(len(self.functions)), SAMPLE])
        samples = [self._views(source, *each) for each in zip(positions.tolist(), ids.tolist(), seeds)]
        expected = [view.shape for view in samples[0]]
        for number, views in enumerate(samples):
            shapes = [view.shape for view in views]
            if shapes != expected:
                raise SampleError(
                    f"{name_of(source)}: sample {ids[number]}: its views have the shapes {_joined(shapes)}, those of "
                    f"sample {ids[0]} {_joined(expected)}: views of one number have one shape, e.g. by a crop or by padding"
                )
        return [default_collate(list(views)).to(self.dtype) for views in zip(*samples)]

    def _views(self, source: Source, position: int, index: int, seeds: list[int]) -> list[Tensor]:
        return make_views(self.functions, partial(read_sample, source, position), seeds, index, name_of(source))


class _Failure:
    """The error of a sample, with the traceback of its process."""

    def __init__(self, message: str, details: str) -> None:
        self.message, self.details = message, details


def _checked(made: "list[Tensor] | _Failure") -> list[Tensor]:
    if not isinstance(made, _Failure):
        return made
    error = SampleError(made.message)
    error.add_note(made.details)
    raise error


def _labels_and_ids(source: Source, positions: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(source.labels[positions]), torch.from_numpy(source.ids[positions])


def _unchanged(batch: Any) -> Any:
    return batch


def _freeze(worker: int) -> None:
    """Leave the objects that exist when a worker starts to no garbage collection: it would copy the memory that is shared."""
    gc.freeze()


def _joined(shapes: Sequence[torch.Size]) -> str:
    return ", ".join(str(tuple(shape)) for shape in shapes)
