"""Images in memory."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ssl_data.sources.fingerprint import array_fingerprint
from ssl_data.sources.source import Pixels, integer_labels, numbered_classes, pixel_array
from ssl_data.sources.values import check_stored_values
from ssl_data.value_range import checked_range


def is_plausible(height: int, width: int, bands: int) -> bool:
    """Return whether images may have this layout: with at least as many bands as rows or columns they have to be square."""
    return bands in (1, 3) or height == width or bands < min(height, width)


class ArraySource:
    """Images of one size in memory.

    Parameters
    ----------
    images : array
        ``(M, H, W, C)``, or ``(M, H, W)`` for one band; uint8, uint16 or float32 with 1 to 64 bands.
    labels : array, optional
        ``(M,)`` integer, -1 for no label; default: no labels.
    class_names : sequence of str, optional
        Names of the classes. Default: their numbers.
    value_range : tuple of float, optional
        The stored values that become 0 and 1 in the engine, e.g. ``(0, 4095)`` for 12-bit data. Default: ``(0, 255)`` for
        uint8, ``(0, 65535)`` for uint16, ``(0, 1)`` for float32.

    Raises
    ------
    ValueError
        For another type or shape, values outside ``value_range``, NaN, labels that are not integers, another number of labels
        than of images, or fewer class names than classes. Also for images with at least as many bands as rows or columns that
        are not square: those are ``(M, C, H, W)``, as a rule.

    Examples
    --------
    >>> import numpy as np
    >>> satellite = np.random.default_rng(0).integers(0, 4096, (100, 64, 64, 13), dtype=np.uint16)
    >>> ArraySource(satellite, value_range=(0, 4095)).image(0).shape
    (64, 64, 13)
    """

    def __init__(
        self,
        images: ArrayLike,
        labels: ArrayLike | None = None,
        class_names: Sequence[str] | None = None,
        value_range: tuple[float, float] | None = None,
    ) -> None:
        try:
            array = pixel_array(images, 4)
        except ValueError as error:
            raise ValueError(f"images: {error}") from error
        height, width, bands = array.shape[1:]
        if not is_plausible(height, width, bands):
            raise ValueError(
                f"images: expected (M, H, W, C), got {array.shape}: {bands} bands of {height} x {width} pixels; for "
                "(M, C, H, W) use images.transpose(0, 2, 3, 1); images with at least as many bands as rows or columns have to "
                "be square"
            )
        self.images: Pixels | None = array
        self.value_range = None if value_range is None else checked_range(value_range)
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
        check_stored_values(self)

    def __len__(self) -> int:
        return len(self.labels)

    def fingerprint(self) -> str:
        """Return shape and digest of the images, and their range if it was given."""
        assert self.images is not None
        shown = array_fingerprint(self.images)
        return shown if self.value_range is None else f"{shown}, {self.value_range[0]:g} to {self.value_range[1]:g}"

    def image(self, position: int) -> Pixels:
        """Return one image, ``(H, W, C)``."""
        assert self.images is not None
        return self.images[position]
