"""Batches made on the CPU, by threads."""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_data.augment.backends.cpu import CPUView
from ssl_data.augment.columns import table, view_columns
from ssl_data.augment.sampling import PARAMETERS, sample_parameters, scaled_boxes
from ssl_data.augment.view_spec import ViewSpec
from ssl_data.batch import Batch
from ssl_data.loading.buffer_pool import Memory
from ssl_data.loading.prefetch import Job
from ssl_data.sources.files.jpeg import SHRINKS
from ssl_data.sources.source import Pixels, ScaledSource, Source, value_range
from ssl_data.sources.values import check_values

AT_LEAST = 128  # samples of a call: fewer, and the interpreter shows; threads that are done go on with the next batch
_FIRST = np.zeros(1, np.int64)


class HostBatches:
    """Makes the batches of a source on the CPU, in the threads of the loader.

    Parameters
    ----------
    source : Source
        The stored samples, in memory or not.
    specs : sequence of ViewSpec
        V views of each sample.
    seed : int
        Random seed of the views.
    dtype : torch.dtype
        dtype of the views: float32 or bfloat16.
    num_workers : int
        Threads that the work is cut up for.
    return_parameters : bool
        Whether batches end with the parameters of their views.
    """

    def __init__(
        self,
        source: Source,
        specs: Sequence[ViewSpec],
        seed: int,
        dtype: torch.dtype,
        num_workers: int,
        return_parameters: bool,
    ) -> None:
        self._source, self._seed, self._dtype = source, seed, dtype
        self._num_workers, self._return_parameters = num_workers, return_parameters
        self._scaled = source if isinstance(source, ScaledSource) and source.scaled_decoding else None
        first = source.image(0)
        self._channels, self._type = first.shape[2], first.dtype
        self._range = value_range(source, first.dtype)
        self._views = [CPUView(spec, self._channels, self._range) for spec in specs]
        self._memory = Memory()
        self._pin = torch.cuda.is_available()  # then copies to the device need not wait

    def with_parameters(self) -> "HostBatches":
        """Return the same, with batches that end with the parameters of their views."""
        other = copy.copy(self)
        other._return_parameters = True
        return other

    def of(self, source: Source) -> "HostBatches":
        """Return the same for another source of images that are not in memory, with the same number of channels."""
        other = copy.copy(self)
        other._source = source
        return other

    def job(self, positions: NDArray[np.int64], epoch: int) -> Job[Callable[[], Batch]]:
        """Return what gives the batch of the samples at ``positions``, and the calls that make its views, a stretch each."""
        n, ids, images = len(positions), self._source.ids[positions], self._source.images
        buffers = [self._empty((n, *view.shape)) for view in self._views]
        drawn = np.zeros((len(self._views), n), PARAMETERS)

        def fill(stretch: slice) -> None:
            if images is None:
                self._decode(positions, ids, epoch, stretch, drawn, buffers)
                return
            for number, (view, out) in enumerate(zip(self._views, buffers)):
                rows, key = drawn[number, stretch], (self._seed, epoch, ids[stretch], number)
                rows[:] = sample_parameters(view.spec, *key, *images.shape[1:3])
                view.fill(images, positions[stretch], rows, out[stretch])

        def batch() -> Batch:
            views = [buffer.permute(0, 3, 1, 2) for buffer in buffers]  # (n, C, size, size), channels_last in memory
            labels, indices = torch.from_numpy(self._source.labels[positions]), torch.from_numpy(ids)
            parameters = (
                ([view_columns(table(rows), view.spec) for rows, view in zip(drawn, self._views)],)
                if self._return_parameters
                else ()
            )
            return views, labels, indices, *parameters

        stretches = _stretches(n, self._num_workers, 1 if images is None else AT_LEAST)
        return batch, [partial(fill, stretch) for stretch in stretches]

    def _empty(self, shape: tuple[int, ...]) -> Tensor:
        """Return memory for one view of a batch, which is the user's as long as he holds any part of it."""
        if self._pin:
            return torch.empty(shape, dtype=self._dtype, pin_memory=True)
        return self._memory.empty(shape, self._dtype)

    def _decode(
        self,
        positions: NDArray[np.int64],
        ids: NDArray[np.int64],
        epoch: int,
        stretch: slice,
        drawn: NDArray[np.void],
        buffers: list[Tensor],
    ) -> None:
        """Make the views of images of any size: one decode for all views of a sample."""
        for at in range(stretch.start, stretch.stop):
            rows = drawn[:, at]
            image, boxes = self._decoded(int(positions[at]), int(ids[at]), epoch, rows)
            if image.shape[2] != self._channels or image.dtype != self._type:
                raise ValueError(
                    f"sample {ids[at]} has {image.shape[2]} bands of {image.dtype}, the first has {self._channels} of "
                    f"{self._type}"
                )
            check_values(image, self._range, f"sample {ids[at]}")
            for number, (view, out) in enumerate(zip(self._views, buffers)):
                view.fill(image[None], _FIRST, boxes[number : number + 1], out[at : at + 1])

    def _decoded(
        self, position: int, sample: int, epoch: int, rows: NDArray[np.void]
    ) -> tuple[Pixels, NDArray[np.void]]:
        """Draw the parameters of all views of a sample into ``rows (V,)``; return its image and the boxes that lie in it."""

        def draw(height: int, width: int) -> None:
            for number, view in enumerate(self._views):
                rows[number] = sample_parameters(view.spec, self._seed, epoch, sample, number, height, width)[0]

        if self._scaled is not None:
            height, width = self._scaled.size(position)
            draw(height, width)
            allowed = min(min(row["height"], row["width"]) / view.spec.size for row, view in zip(rows, self._views))
            shrink = next((shrink for shrink in SHRINKS if shrink <= allowed), 1)
            if shrink > 1:
                image = self._scaled.shrunk(position, shrink)
                expected = -(-height // shrink), -(-width // shrink)
                if image.shape[:2] == expected:  # else it is a replacement, or raw
                    return image, scaled_boxes(rows, shrink)
        image = np.ascontiguousarray(self._source.image(position))
        draw(*image.shape[:2])
        return image, rows


def _stretches(count: int, num_workers: int, at_least: int) -> list[slice]:
    """Cut a batch into four stretches a thread, so that none waits long for another, of ``at_least`` samples each."""
    number = max(1, min(4 * num_workers, count // at_least))
    bounds = np.linspace(0, count, number + 1).astype(int).tolist()
    return [slice(a, b) for a, b in pairwise(bounds) if a < b]
