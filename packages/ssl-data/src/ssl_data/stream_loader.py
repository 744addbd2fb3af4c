"""The loader of a stream: batches of views from samples that can only be read from the beginning."""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch

from ssl_data.augment.functions import SAMPLE, SampleError
from ssl_data.augment.seeding import preserved_generators, seed_generators, view_seed
from ssl_data.augment.view_spec import ViewSpec
from ssl_data.batch import Batch
from ssl_data.loader import AHEAD
from ssl_data.loading.batches import make_batches
from ssl_data.loading.prefetch import Job, prefetched
from ssl_data.loading.ranks import check_batch_size
from ssl_data.loading.resumable import ResumableLoader, with_crops
from ssl_data.loading.streams import is_split_by_library, is_stream, read_stream
from ssl_data.loading.worker_batches import WorkerBatches
from ssl_data.sources.adapters.indexed import LABEL_KEYS, Key
from ssl_data.sources.adapters.samples import content_bytes
from ssl_data.sources.adapters.stream_samples import SampleForm, StreamSamples

FIRST = 16  # samples that are compared: does the order repeat itself?

_message = logging.getLogger(__name__)


class StreamLoader(ResumableLoader):
    """Iterates over the batches of a stream, one epoch per iteration; its whole state is ``(epoch, step)``.

    Each epoch reads the stream from its beginning. One process per rank reads, and several threads decode and make the views:
    the views do not depend on their number. To start at a step, the samples before it are read and dropped, not
    decoded, so that a resumed run is exact if the order of the stream is repeatable.

    Parameters
    ----------
    stream : IterableDataset
        A stream of WebDataset, Hugging Face or torch, with samples as :class:`ssl_data.IndexedSource` describes them:
        mappings, tuples ``(image, label)``, or images. Leave compressed images undecoded: that is faster.
    views, seed, rank, world_size, num_workers, dtype, return_parameters, batch_transform
        As for :class:`ssl_data.Loader`.
    batch_size : int
        Number of samples in a batch, over all ranks.
    epoch_samples : int, optional
        Number of samples in an epoch, over all ranks. Default: the length of the stream, if it has one.
    image, label : str or int, optional
        Where a sample keeps them.
    class_names : sequence of str, optional
        Names of all classes, needed for labels. Default: those of Hugging Face's ``ClassLabel``.
    name : str, optional
        Name of the stream, for messages.

    Yields
    ------
    views, labels, indices
        As :class:`ssl_data.Loader` gives them. An index is a position in the epoch: it is another sample in another epoch
        and, if the library of the stream distributes the samples, at another number of ranks.

    Raises
    ------
    ValueError
        For anything but a stream, without its length, for a sample without an image, and when the stream ends before its epoch.

    Notes
    -----
    On several ranks, streams of WebDataset and Hugging Face are shared out by their library: the order depends on the number
    of ranks. For any other stream, each rank reads all samples and keeps its part: the order does not depend on the ranks.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from ssl_data import StreamLoader, views
    >>> class Stream(torch.utils.data.IterableDataset):
    ...     def __iter__(self):
    ...         return ((np.full((32, 32, 3), number, np.uint8), number % 2) for number in range(10))
    >>> loader = StreamLoader(Stream(), views("simclr", size=32), 4, epoch_samples=10, class_names=["even", "odd"])
    >>> images, labels, indices = next(iter(loader))
    >>> [tuple(view.shape) for view in images], labels.tolist(), indices.tolist()
    ([(4, 3, 32, 32), (4, 3, 32, 32)], [0, 1, 0, 1], [0, 1, 2, 3])
    """

    def __init__(
        self,
        stream: Any,
        views: Sequence[ViewSpec] | Sequence[Callable[..., Any]],
        batch_size: int,
        epoch_samples: int | None = None,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        num_workers: int | None = None,
        dtype: torch.dtype = torch.float32,
        return_parameters: bool = False,
        batch_transform: Callable[[Batch, torch.Generator], Batch] | None = None,
        image: Key | None = None,
        label: Key | None = None,
        class_names: Sequence[str] | None = None,
        name: str = "",
    ) -> None:
        super().__init__(list(views), batch_size, seed, rank, world_size, num_workers, dtype, batch_transform)
        self.stream, self.name = stream, name or f"stream {type(stream).__name__}"
        if not is_stream(stream):
            raise ValueError(
                f"{self.name}: expected an IterableDataset; anything with a length and positions is no stream"
            )
        self.epoch_samples = _length(self.name, stream) if epoch_samples is None else epoch_samples
        check_batch_size(batch_size, self.epoch_samples, self.world_size)
        self._is_split = is_split_by_library(stream) and self.world_size > 1
        samples = self._first_samples()
        given = class_names or _class_names(stream, label)
        self._form = SampleForm(self.name, samples[0], image, label, given)
        self.class_names = self._form.class_names
        self._order = self._digest(samples)
        self.repeats = (
            self._digest(self._first_samples()) == self._order
        )  # whether the order of an epoch is always the same
        first = StreamSamples(self._form, samples[:1], np.zeros(1, np.int64))
        options = (dtype, self.num_workers, None, return_parameters)
        self._batches: Any = make_batches(first, self.views, seed, *options, persistent_workers=False)
        self._channels = 0 if isinstance(self._batches, WorkerBatches) else first.image(0).shape[2]
        self._warn()

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return self.epoch_samples // self.batch_size

    def view_shapes(self) -> list[tuple[int, ...]]:
        """Return the shape of each view of a sample, such as ``(C, size, size)``; of functions, that for the first sample."""
        if isinstance(self._batches, WorkerBatches):
            return self._batches.shapes()
        return [(self._channels, spec.size, spec.size) for spec in self.views]

    def fingerprint(self) -> dict[str, Any]:
        """Return the samples of an epoch, the class names, and a digest of the first samples if the order repeats itself."""
        order = f"the first {FIRST} in the order of this seed, {self._order}" if self.repeats else ""
        return {"num_samples": self.epoch_samples, "class_names": self.class_names, "images": order}

    def _identity(self) -> dict[str, int]:
        return {"seed": self.seed, "batch_size": self.batch_size, "num_samples": self.epoch_samples}

    def _made(self, epoch: int, first: int) -> Iterator[Batch]:
        samples = self._read(epoch, first)
        if isinstance(self._batches, WorkerBatches):
            return self._batches.iterate_sources(samples, epoch)
        return (batch() for batch in prefetched(self._jobs(samples, epoch), self.num_workers, AHEAD))

    def _jobs(self, samples: Iterator[StreamSamples], epoch: int) -> Iterator[Job[Callable[[], Batch]]]:
        for part in samples:
            batch, calls = self._batches.of(part).job(np.arange(len(part)), epoch)
            yield (partial(with_crops, batch) if self._crops else batch), calls

    def _read(self, epoch: int, first: int) -> Iterator[StreamSamples]:
        """Yield this rank's samples of each step; those of the steps before ``first`` are read and dropped."""
        share = self.batch_size // self.world_size
        own = slice(0, share) if self._is_split else slice(self.rank * share, (self.rank + 1) * share)
        source = self._opened(epoch, *((self.rank, self.world_size) if self._is_split else (0, 1)))
        for step in range(len(self)):
            begin = step * self.batch_size + (self.rank * share if self._is_split else 0)
            ids = np.arange(begin, begin + (share if self._is_split else self.batch_size))
            with preserved_generators():  # a stage of the stream may draw from the global ones
                samples = [self._next(source, epoch, index) for index in ids.tolist()]
            if step >= first:
                yield StreamSamples(self._form, samples[own], ids[own], self._channels)

    def _opened(self, epoch: int, rank: int, world_size: int) -> Iterator[Any]:
        with self._errors(epoch, 0):
            return read_stream(self.stream, self.seed, epoch, rank, world_size)

    def _next(self, source: Iterator[Any], epoch: int, index: int) -> Any:
        """Return the next sample; what the stream draws from the global generators depends on seed, epoch and index."""
        seed_generators(view_seed(self.seed, epoch, index, SAMPLE))
        with self._errors(epoch, index):
            for sample in source:
                return sample
        which = f"rank {self.rank} of {self.world_size} " if self._is_split else ""
        raise SampleError(
            f"{self.name}: {which}ended before sample {index} of epoch {epoch}; epoch_samples={self.epoch_samples} counts "
            "those of all ranks, each of which needs the same number: take fewer, or repeat the stream, e.g. by .repeat()"
        )

    @contextmanager
    def _errors(self, epoch: int, index: int) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # of many types: a missing shard, a damaged file, a stage of the user
            words = (
                [str(error)] if isinstance(error, OSError) else [each for each in error.args if isinstance(each, str)]
            )
            reason = "; ".join(words) or repr(error)
            raise SampleError(
                f"{self.name}: reading sample {index} of epoch {epoch} raised {type(error).__name__}: {reason}"
            ) from error

    def _first_samples(self) -> list[Any]:
        """Return up to ``FIRST`` samples of epoch 0, the same on every rank."""
        source = self._opened(0, 0, 1)
        with preserved_generators():
            return [self._next(source, 0, index) for index in range(min(FIRST, self.epoch_samples))]

    def _digest(self, samples: list[Any]) -> str:
        parts = (
            (self._form.content(each, index), self._form.label_of(each, index)) for index, each in enumerate(samples)
        )
        return f"sha256 {hashlib.sha256(b''.join(map(content_bytes, parts))).hexdigest()[:16]}"

    def _warn(self) -> None:
        """Log once, on rank 0, what of a run on this stream cannot be repeated exactly."""
        if self.rank:
            return
        if self._form.unused_label is not None:
            _message.warning(
                "%s: its labels (%r) are not used; with class_names=[...] of all classes they are", self.name,
                self._form.unused_label,
            )  # fmt: skip
        if not self.repeats:
            _message.warning(
                "%s: its first samples differ from one reading to the next, e.g. by a shuffle without a seed: a run cannot be "
                "repeated, and resumes in the middle of an epoch with other samples", self.name,
            )  # fmt: skip
        if self._is_split:
            _message.warning(
                "%s: shared out over %d ranks by its library: on another number of ranks an epoch has another order, so that a "
                "run is resumed exactly on the same number only", self.name, self.world_size,
            )  # fmt: skip


def _length(name: str, stream: Any) -> int:
    try:
        return len(stream)
    except TypeError:
        raise ValueError(f"{name}: its length is not known; pass epoch_samples=N, the samples of an epoch") from None


def _class_names(stream: Any, label: Key | None) -> list[str] | None:
    """Return the names that Hugging Face keeps with the labels."""
    features = getattr(stream, "features", None) or {}
    keys = LABEL_KEYS if label is None else (label,)
    return next((features[key].names for key in keys if hasattr(features.get(key), "names")), None)
