"""FFCV's ``Loader``, with the user's pipelines, as the training loader of a run."""

import logging
import math
from collections.abc import Iterator
from contextlib import suppress
from queue import Empty
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_data.batch import Batch
from ssl_data.errors import ArgumentError
from ssl_data.loading.position import Position
from ssl_data.sources.fingerprint import fingerprint
from ssl_data.sources.source import Source

_POLL = 0.5  # seconds between looks at the thread of an iteration

_message = logging.getLogger(__name__)


class FFCVLoader:
    """Gives the batches of an FFCV ``Loader`` as ``(views, labels, ids)``.

    The order of epoch e is the loader's own (random, quasi-random, sequential or user-defined), with ``seed`` in place of the
    loader's. Rank r of R gets the r-th part of each batch. An iteration may begin at any batch of an epoch; nothing before
    it is decoded.

    Order, ids and labels are a function of (seed, epoch, step). Views are not: FFCV's random operations draw from numpy's
    global generator in several threads. One line of the log reports that.

    Parameters
    ----------
    loader : ffcv.loader.Loader
        With ``batch_size`` samples for each rank, ``drop_last=True`` and ``distributed=False``. It is used in place.
    source : Source
        The samples of its file, of which it may use a part; for labels, classes and fingerprint.
    batch_size : int
        Samples a step, over all ranks.
    seed : int
        Random seed of the order.
    rank, world_size : int
        This process among those that share the batch.
    image : str or list of str, optional
        The pipelines whose outputs are views. Default: all pipelines of the image fields, in the order of the loader.
    label : str, optional
        The pipeline whose output is the label. Default: the one named ``label``, else that of the only integer field, else
        none: -1.

    Yields
    ------
    views : list of Tensor
        V tensors ``(n, C, H, W) float32``, copies of the loader's buffers, which FFCV overwrites; on the device on which a
        pipeline ends.
    labels, ids : Tensor
        ``(n,) int64``; ids are positions in the file.

    Raises
    ------
    ArgumentError
        For a loader with another batch size or options, or unknown names of pipelines.
    """

    def __init__(
        self,
        loader: Any,
        source: Source,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        image: Any = None,
        label: Any = None,
    ) -> None:
        self.source, self.seed, self.batch_size, self.rank, self.world_size = source, seed, batch_size, rank, world_size
        self._loader, self._position = loader, Position()
        _check_options(loader, batch_size, world_size)
        self._local = batch_size // world_size
        self._outputs = list(loader.pipeline_specs)  # the loader gives them in this order
        self._images, self._label = _names(loader, image, label)
        loader.traversal_order.seed = seed
        self._order = loader.traversal_order
        _message.warning(
            "data.train: random views of an FFCV Loader cannot be reproduced, since its operations draw from numpy's global "
            "generator in %d threads; order, ids and labels can",
            loader.num_workers,
        )

    def __len__(self) -> int:
        """Return the batches of an epoch."""
        return len(self._loader.indices) // self.batch_size

    def start(self, epoch: int, step: int = 0) -> "FFCVLoader":
        """Set the position of the next iteration to batch ``step`` of ``epoch``; return the loader."""
        if epoch < 0 or not 0 <= step <= len(self):
            raise ValueError(f"expected epoch >= 0 and 0 <= step <= {len(self)}, got epoch {epoch}, step {step}")
        self._position = Position(epoch, step)
        return self

    def __iter__(self) -> Iterator[Batch]:
        """Give the rest of the epoch; the position moves with the batches that are taken."""
        yield from self._position.follow(self._batches, len(self))

    def view_shapes(self) -> list[tuple[int, ...]]:
        """Return the shape of each view, ``(C, H, W)``. One batch is made, so that pipelines that fail do so here.

        Raises
        ------
        ValueError
            For outputs that are no views or labels.
        RuntimeError
            If a pipeline fails.
        """
        (batch,) = self._iterate(self._steps(0, 0)[:1])
        return [tuple(view.shape[1:]) for view in batch[0]]

    def normalization(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Return mean and deviation of each channel, of pixels from 0 to 1, by which the first view is normalized.

        None without FFCV's ``NormalizeImage``.
        """
        for operation in self._loader.pipeline_specs[self._images[0]].transforms:
            if type(operation).__name__ == "NormalizeImage":
                table = torch.as_tensor(operation.lookup_table).cpu().numpy()
                table = (table.view(np.float16) if table.dtype == np.int16 else table).astype(np.float64)
                std = 255 / (table[255] - table[0])
                return tuple((-table[0] * std / 255).tolist()), tuple((std / 255).tolist())
        return None

    def fingerprint(self) -> dict[str, Any]:
        """Return the fingerprint of the samples, with the names of the views and the operations of each pipeline."""
        pipelines = {name: self._describe(name) for name in self._outputs}
        return fingerprint(self.source) | {"views": list(self._images), "pipelines": pipelines}

    def _describe(self, name: str) -> str:
        spec = self._loader.pipeline_specs[name]
        return ", ".join(
            type(operation).__name__ for operation in (spec.decoder, *spec.transforms) if operation is not None
        )

    def _steps(self, epoch: int, first: int) -> NDArray[np.int64]:
        """Return the samples of this rank, ``(steps, n)``, from batch ``first`` of an epoch."""
        order = np.asarray(self._order.sample_order(epoch), np.int64)[: len(self) * self.batch_size]
        return order.reshape(len(self), self.world_size, self._local)[first:, self.rank]

    def _batches(self, epoch: int, first: int) -> Iterator[Batch]:
        return self._iterate(self._steps(epoch, first))

    def _iterate(self, steps: NDArray[np.int64]) -> Iterator[Batch]:
        if not len(steps):
            return
        self._loader.traversal_order = _Fixed(steps.ravel().astype(np.uint64))  # an epoch of these samples only
        try:
            running = iter(self._loader)
        finally:
            self._loader.traversal_order = self._order  # now, since a traceback may hold this iteration for long
        try:
            for ids in steps:
                _wait(running)
                found = dict(zip(self._outputs, next(running)))
                views = [_view(name, found[name]) for name in self._images]
                labels = (
                    torch.full((len(ids),), -1) if self._label is None else _labels(self._label, found[self._label])
                )
                yield views, labels, torch.from_numpy(ids.copy())
        finally:
            _stop(running)


class _Fixed:
    """A traversal order of given samples."""

    def __init__(self, samples: NDArray[np.uint64]) -> None:
        self.samples = samples

    def sample_order(self, epoch: int) -> NDArray[np.uint64]:
        return self.samples


def _wait(running: Any) -> None:
    """Wait for a batch; FFCV itself waits forever for a thread that has failed."""
    queue = running.output_queue
    with queue.not_empty:
        while not queue.queue and running.is_alive():
            queue.not_empty.wait(_POLL)
    if not queue.queue:
        raise RuntimeError("data.train: a pipeline of the FFCV Loader failed in its thread; its error is printed above")


def _stop(running: Any) -> None:
    """End the thread of an iteration, which FFCV leaves behind when a loop ends early."""
    running.iter_ixes = iter(())  # after the batch that it makes now
    while running.is_alive():
        with suppress(Empty):
            running.output_queue.get(timeout=_POLL)
    running.join()
    running.close()


def _check_options(loader: Any, batch_size: int, world_size: int) -> None:
    if loader.batch_size * world_size != batch_size:
        raise ArgumentError(
            "batch_size",
            batch_size,
            f"the FFCV Loader has batch_size={loader.batch_size}, expected {batch_size / world_size:g}, the samples of each of "
            f"{world_size} ranks",
        )
    if loader.distributed:
        raise ValueError(
            "the FFCV Loader has distributed=True, expected False: the run shares each batch out over its ranks"
        )
    if not loader.drop_last:
        raise ValueError("the FFCV Loader has drop_last=False, expected True: the batches of training have one size")


def _names(loader: Any, image: Any, label: Any) -> tuple[list[str], str | None]:
    """Return the names of the pipelines that give views, and of the one that gives the label."""
    fields = {name: _field(loader, name) for name in loader.pipeline_specs}
    chosen = [] if image is None else [image] if isinstance(image, str) else list(image)
    for argument, names in (("data.image", chosen), ("data.label", [] if label is None else [label])):
        for name in names:
            if name not in fields:
                raise ArgumentError(argument, name, f"expected a pipeline of the FFCV Loader: {', '.join(fields)}")
    integers = [name for name, field in fields.items() if field == "IntField"]
    if label is None:
        label = "label" if "label" in integers else integers[0] if len(integers) == 1 else None
    images = chosen or [name for name, field in fields.items() if field == "RGBImageField" and name != label]
    if not images:
        raise ValueError(
            f"no pipeline of the FFCV Loader gives an image ({', '.join(fields)}); name those that give views by image=[...]"
        )
    return images, label


def _field(loader: Any, name: str) -> str:
    """Return the type of the field that a pipeline reads, also of one that begins with an operation of another."""
    specs, source = loader.pipeline_specs, loader.pipeline_specs[name].source
    while not isinstance(source, str):
        source = next(spec.source for spec in specs.values() if source in (spec.decoder, *spec.transforms))
    return type(loader.reader.handlers[source]).__name__


def _view(name: str, value: Any) -> Tensor:
    """Return a copy of a pipeline's output as a view."""
    view = torch.from_numpy(value) if isinstance(value, np.ndarray) else value
    advice = "end it with NormalizeImage(mean, std, np.float32), ToTensor(), ToTorchImage(), or disable it by None"
    if not isinstance(view, Tensor) or not view.is_floating_point():
        raise ValueError(f"pipeline {name!r} gives {_described(view)}, expected floats (n, C, H, W); {advice}")
    if view.ndim != 4 or (view.shape[1] not in (1, 3) and view.shape[3] in (1, 3)):
        raise ValueError(f"pipeline {name!r} gives {_described(view)}, expected (n, C, H, W); {advice}")
    return view.to(torch.float32, copy=True)


def _labels(name: str, value: Any) -> Tensor:
    labels = torch.from_numpy(value) if isinstance(value, np.ndarray) else value
    if not isinstance(labels, Tensor) or labels.is_floating_point() or math.prod(labels.shape[1:]) != 1:
        raise ValueError(f"pipeline {name!r} gives {_described(labels)} as labels, expected integers (n,) or (n, 1)")
    return labels.reshape(-1).to(torch.int64, copy=True)


def _described(value: Any) -> str:
    if isinstance(value, Tensor | np.ndarray):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return f"a {type(value).__name__}"
