"""Batches made on the device of the model, from a source that is kept there."""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_data.augment.backends.gpu import GPUView
from ssl_data.augment.columns import view_columns
from ssl_data.augment.sampling import PARAMETERS, sample_parameters
from ssl_data.augment.view_spec import ViewSpec
from ssl_data.batch import Batch
from ssl_data.loading.prefetch import Job
from ssl_data.sources.source import Source, value_range

_Resident = tuple[Tensor, Tensor, Tensor]  # images (M, H, W, C), labels (M,), ids (M,)
_RESIDENT: WeakKeyDictionary[Source, dict[torch.device, _Resident]] = WeakKeyDictionary()


class DeviceBatches:
    """Makes the batches of a source on a device; options as of :class:`ssl_data.loading.cpu_batches.HostBatches`.

    The images are copied to ``device`` (a GPU, or the CPU) once, for all loaders of the source; then only the parameters, 160
    bytes a view. The source must be in memory (``source.images``), else a ValueError is raised.
    """

    def __init__(
        self,
        source: Source,
        specs: Sequence[ViewSpec],
        seed: int,
        dtype: torch.dtype,
        device: torch.device,
        return_parameters: bool,
    ) -> None:
        self._source, self._seed, self._dtype, self._device = source, seed, dtype, device
        self._return_parameters = return_parameters
        self._images, self._labels, self._ids = _resident(source, device)
        self._views = [GPUView(spec, self._images.shape[3], device, value_range(source)) for spec in specs]

    def with_parameters(self) -> "DeviceBatches":
        """Return batches that end with the parameters of their views."""
        other = copy.copy(self)
        other._return_parameters = True
        return other

    def job(self, positions: NDArray[np.int64], epoch: int) -> Job[Callable[[], Batch]]:
        """Return a function that gives the batch of the samples at ``positions``, and the calls that draw its parameters."""
        n, ids, pin = len(positions), self._source.ids[positions], self._device.type == "cuda"
        drawn = torch.empty((len(self._views), n, PARAMETERS.itemsize), dtype=torch.uint8, pin_memory=pin)
        stored = torch.empty(n, dtype=torch.int64, pin_memory=pin)
        stored.numpy()[:] = positions
        records, size = drawn.numpy().view(PARAMETERS)[..., 0], self._images.shape[1:3]

        def draw(number: int) -> None:
            records[number] = sample_parameters(self._views[number].spec, self._seed, epoch, ids, number, *size)

        def batch() -> Batch:  # called by the consumer, on its stream
            rows = stored.to(self._device, non_blocking=True)
            tables = drawn.to(self._device, non_blocking=True)
            views = [view.make(self._images, rows, own, self._dtype) for view, own in zip(self._views, tables)]
            parameters = (
                ([view_columns(own, view.spec) for own, view in zip(tables, self._views)],)
                if self._return_parameters
                else ()
            )
            return views, self._labels[rows], self._ids[rows], *parameters

        return batch, [partial(draw, number) for number in range(len(self._views))]


def _resident(source: Source, device: torch.device) -> _Resident:
    """Return a source's images, labels and ids on a device, copied there at the first call."""
    if source.images is None:
        raise ValueError(
            f"device={str(device)!r}: the images of the source are not in memory, and cannot be copied there; leave it out"
        )
    places = _RESIDENT.setdefault(source, {})
    if device not in places:
        arrays = [np.require(array, requirements="W") for array in (source.images, source.labels, source.ids)]
        images, labels, ids = (torch.from_numpy(array).to(device) for array in arrays)
        places[device] = images, labels, ids
    return places[device]
