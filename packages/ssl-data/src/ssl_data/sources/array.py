"""Images in memory."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ssl_data.sources.fingerprint import array_fingerprint
from ssl_data.sources.source import integer_labels, numbered_classes


class ArraySource:
    """Images of one size in memory.

    Parameters
    ----------
    images : array
        ``(M, H, W, C)`` or ``(M, H, W) uint8``.
    labels : array, optional
        ``(M,)`` integer, -1 for no label; default: no labels.
    class_names : sequence of str, optional
        Default: the numbers.

    Raises
    ------
    ValueError
        For another type or shape, labels that are not integers, another number of labels than of images, or fewer class
        names than classes.
    """

    def __init__(
        self, images: ArrayLike, labels: ArrayLike | None = None, class_names: Sequence[str] | None = None
    ) -> None:
        array = np.asarray(images)
        if array.ndim == 3:
            array = array[..., None]
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] not in (1, 3):
            raise ValueError(
                f"images must be (M, H, W, C) uint8 with C = 1 or 3, got {array.shape} {array.dtype}; "
                "for (M, C, H, W) use images.transpose(0, 2, 3, 1), for floats in [0, 1] (255 * images).astype('uint8')"
            )
        self.images: NDArray[np.uint8] | None = np.ascontiguousarray(array)
        self.labels: NDArray[np.int64] = (
            np.full(len(array), -1, np.int64) if labels is None else integer_labels("labels", labels)
        )
        if self.labels.shape != (len(array),):
            raise ValueError(f"labels must be one for each of the {len(array)} images, got shape {self.labels.shape}")
        self.ids: NDArray[np.int64] = np.arange(len(array), dtype=np.int64)
        numbers = numbered_classes("labels", self.labels)
        self.class_names = numbers if class_names is None else list(class_names)
        if len(self.class_names) < len(numbers):
            raise ValueError(
                f"class_names: expected one for each of {len(numbers)} classes, got {len(self.class_names)}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def fingerprint(self) -> str:
        """Return shape and digest of the images."""
        assert self.images is not None
        return array_fingerprint(self.images)

    def image(self, position: int) -> NDArray[np.uint8]:
        """Return one image, ``(H, W, C) uint8``."""
        assert self.images is not None
        return self.images[position]
