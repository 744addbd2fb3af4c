"""Batches whose views are made by functions, in worker processes of ``torch.utils.data.DataLoader``."""

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

from ssl_data.augment.functions import FunctionView, SampleError, make_views
from ssl_data.augment.seeding import preserved_generators, view_seed
from ssl_data.batch import Batch
from ssl_data.sources.samples import name_of, read_sample
from ssl_data.sources.source import Source

_AHEAD = 2  # batches that a worker makes ahead
_Key = tuple[int, NDArray[np.int64], Source | None]  # epoch, positions, source; None: that of the worker


class WorkerBatches:
    """Makes the batches of a source by functions: each view is seeded by (seed, epoch, index, view).

    The workers are processes that live as long as an iteration.

    Parameters
    ----------
    source : Source
        The stored samples. A function gets ``source.sample(position)`` where the source has it, else the image as a PIL
        image.
    functions : sequence of callable
        See :class:`~ssl_data.augment.functions.FunctionView`.
    seed : int
        Of the views.
    dtype : torch.dtype
        Of the views: float32 or bfloat16.
    num_workers : int
        Processes; 0: this one.
    """

    def __init__(
        self,
        source: Source,
        functions: Sequence[Callable[..., Any]],
        seed: int,
        dtype: torch.dtype,
        num_workers: int,
    ) -> None:
        self._source, self._num_workers = source, num_workers
        view_seed(seed, 0, 0, 0)  # loads compiled code once: workers are forked from this process in each iteration
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
        for positions, views in zip(due, self._made([(epoch, positions, None) for positions in due])):
            yield views, *_labels_and_ids(self._source, positions)

    def iterate_sources(self, sources: Iterable[Source], epoch: int) -> Iterator[Batch]:
        """Yield the batch of all samples of each source, which are sent to the workers; errors as of :meth:`iterate`."""
        sent: deque[Source] = deque()

        def keys() -> Iterator[_Key]:
            for source in sources:
                sent.append(source)
                yield epoch, np.arange(len(source)), source

        for views in self._made(keys()):
            source = sent.popleft()
            yield views, *_labels_and_ids(source, np.arange(len(source)))

    def _made(self, keys: Iterable[_Key]) -> Iterator[list[Tensor]]:
        loader = DataLoader(
            self._samples,
            batch_size=None,  # an item is a batch
            sampler=keys,  # read as workers are free
            num_workers=self._num_workers,
            collate_fn=_unchanged,
            pin_memory=torch.cuda.is_available(),
            prefetch_factor=_AHEAD if self._num_workers else None,
            generator=torch.Generator(),  # else the loader draws from the global one
        )
        yield from map(_checked, self._started(loader))

    def _started(self, loader: DataLoader[Any]) -> Iterator[Any]:
        try:
            return iter(loader)
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


class _Samples(Dataset[Any]):
    """Gives the views of ``(epoch, positions, source)``; an error is returned, so that it crosses processes as one line."""

    def __init__(self, source: Source, functions: Sequence[Callable[..., Any]], seed: int, dtype: torch.dtype) -> None:
        self.source, self.seed, self.dtype = source, seed, dtype
        self.functions = [FunctionView(function, number) for number, function in enumerate(functions)]

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
        samples = [self._views(source, epoch, int(position)) for position in positions]
        for number, views in enumerate(samples):
            shapes, expected = ([tuple(view.shape) for view in each] for each in (views, samples[0]))
            if shapes != expected:
                first, other = (int(source.ids[positions[at]]) for at in (0, number))
                raise SampleError(
                    f"{name_of(source)}: sample {other}: its views have the shapes {_joined(shapes)}, those of sample "
                    f"{first} {_joined(expected)}: views of one number have one shape, e.g. by a crop or by padding"
                )
        return [default_collate(list(views)).to(self.dtype) for views in zip(*samples)]

    def _views(self, source: Source, epoch: int, position: int) -> list[Tensor]:
        index = int(source.ids[position])
        read = partial(read_sample, source, position)
        return make_views(self.functions, read, self.seed, epoch, index, name_of(source))


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


def _joined(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(map(str, shapes))
