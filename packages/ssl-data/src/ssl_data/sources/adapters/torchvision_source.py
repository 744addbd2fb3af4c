"""Data sets of torchvision."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_data.sources.adapters.indexed import IndexedSource
from ssl_data.sources.lazy import MEMORY


class TorchvisionSource(IndexedSource):
    """A data set of torchvision; images in memory are used without a copy (CIFAR, STL10, SVHN, the MNIST family).

    With transforms, samples are read one by one when they are needed; the transforms must return images.

    Parameters
    ----------
    dataset : object
        A data set of torchvision: ``dataset[i]`` is ``(image, label)``.
    options
        As for :class:`IndexedSource`.
    """

    def __init__(self, dataset: Any, **options: Any) -> None:
        self._plain = getattr(dataset, "transforms", None) is None
        super().__init__(dataset, **options)

    def load_into_memory(self, memory: int = MEMORY, num_workers: int = 1) -> None:
        """Take the images as the data set holds them, or read them once as :class:`IndexedSource` does."""
        if not self._plain or self.images is not None:
            return
        held = _array(self._dataset)
        if held is None or held.shape[3] > self._channels:  # colours as grey are an error for each image
            super().load_into_memory(memory, num_workers)
        else:
            self.images = held if held.shape[3] == self._channels else held.repeat(3, axis=3)

    def _stored_labels(self) -> Any | None:
        names = ("targets", "labels", "_labels") if self._plain else ()
        found = next((getattr(self._dataset, name) for name in names if hasattr(self._dataset, name)), None)
        if found is None and self._plain and isinstance(getattr(self._dataset, "_samples", None), list):
            return [label for _, label in self._dataset._samples]  # of Stanford Cars, GTSRB, Rendered SST2
        return found


def _array(dataset: Any) -> NDArray[np.uint8] | None:
    """Return all images as ``(M, H, W, C)``, if the data set holds them in a way that we know."""
    data = getattr(dataset, "data", None)
    if data is None or not hasattr(data, "shape") or len(data) != len(dataset):
        return None
    array = np.asarray(data)
    if array.dtype != np.uint8:
        return None
    if array.ndim == 3:
        array = array[..., None]
    elif array.ndim == 4 and array.shape[1] == 3 and array.shape[3] != 3:  # STL10 and SVHN keep (M, C, H, W)
        array = array.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(array) if array.ndim == 4 and array.shape[3] in (1, 3) else None
