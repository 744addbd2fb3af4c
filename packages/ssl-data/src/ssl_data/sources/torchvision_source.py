"""Data sets of torchvision, or of that shape: ``dataset[i]`` gives an image and a label."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class TorchvisionSource:
    """Any data set that gives ``(image, label)`` by position; the image a PIL image or a ``(H, W, C) uint8`` array.

    Parameters
    ----------
    dataset : object
        With ``__len__`` and ``__getitem__``, made without transforms. What its ``data`` attribute holds is used as it
        is where it is known (CIFAR, STL10, SVHN, the MNIST family); else every sample is read when it is needed.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self.images = _array(dataset)
        labels = next(
            (getattr(dataset, name) for name in ("targets", "labels", "_labels") if hasattr(dataset, name)), None
        )
        if labels is None:
            labels = [dataset[position][1] for position in range(len(dataset))]
        self.labels: NDArray[np.int64] = np.asarray(labels).astype(np.int64)
        self.ids: NDArray[np.int64] = np.arange(len(dataset), dtype=np.int64)
        num_classes = int(self.labels.max(initial=-1)) + 1
        self.class_names = [str(name) for name in getattr(dataset, "classes", range(num_classes))]

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, position: int) -> NDArray[np.uint8]:
        """Return one image, ``(H, W, C) uint8``."""
        if self.images is not None:
            return self.images[position]
        image = self._dataset[position][0]
        if isinstance(image, Image.Image) and image.mode not in ("L", "RGB"):
            image = image.convert("RGB")
        array = np.asarray(image)
        array = array[..., None] if array.ndim == 2 else array
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (1, 3):
            raise ValueError(
                f"sample {position} must be a PIL image or (H, W, C) uint8 with C = 1 or 3, got {array.shape} "
                f"{array.dtype}; make the data set without transforms, its views are made here"
            )
        return array


def _array(dataset: Any) -> NDArray[np.uint8] | None:
    """Return all images as ``(M, H, W, C)``, if the data set holds them in a way that we know."""
    data = getattr(dataset, "data", None)
    if data is None or not hasattr(data, "shape"):
        return None
    array = np.asarray(data)
    if array.dtype != np.uint8:
        return None
    if array.ndim == 3:
        array = array[..., None]
    elif array.ndim == 4 and array.shape[1] == 3 and array.shape[3] != 3:  # STL10 and SVHN keep (M, C, H, W)
        array = array.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(array) if array.ndim == 4 and array.shape[3] in (1, 3) else None
