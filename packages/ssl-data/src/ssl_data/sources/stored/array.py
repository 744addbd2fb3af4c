"""Checks of an array that holds one image."""

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from PIL import Image

from ssl_data.sources.array import is_plausible
from ssl_data.sources.source import Pixels, pixel_array

_PIXEL_BYTES = 4  # an image may take as many bytes as one of PIL.Image.MAX_IMAGE_PIXELS pixels of 8-bit RGBA
_UPRIGHT = {  # orientation of EXIF and TIFF -> quarter turns to the left, and whether the result is mirrored
    2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False),
}  # fmt: skip


def stored_array(array: NDArray[Any]) -> Pixels:
    """Return an image ``(H, W)`` or ``(H, W, C)`` as :func:`ssl_data.sources.source.pixel_array` does.

    Raises
    ------
    ValueError
        As there; and for images with at least as many bands as rows or columns that are not square, as ``(C, H, W)`` is.
    """
    image = pixel_array(array, 3)
    height, width, bands = image.shape
    if not is_plausible(height, width, bands):
        raise ValueError(
            f"expected (H, W, C), got {array.shape}: {bands} bands of {height} x {width} pixels; of (C, H, W) store "
            "numpy.moveaxis(image, 0, -1); an image with at least as many bands as rows or columns has to be square"
        )
    return image


def upright_array(array: NDArray[Any], orientation: int | None) -> NDArray[Any]:
    """Return an image ``(H, W, C)`` that is turned and mirrored by the tag Orientation of EXIF or TIFF, 1 to 8."""
    turns, mirrored = _UPRIGHT.get(orientation or 1, (0, False))
    array = np.rot90(array, turns)
    return array[:, ::-1] if mirrored else array


def check_bytes(shape: tuple[int, ...], dtype: DTypeLike) -> None:
    """Raise a ValueError for an image that takes more memory than the largest one of 8 bits that PIL opens."""
    limit = Image.MAX_IMAGE_PIXELS
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if limit is not None and size > limit * _PIXEL_BYTES:
        raise ValueError(
            f"{' x '.join(map(str, shape))} values of {np.dtype(dtype).name}, {size:,} bytes, may be a decompression bomb "
            f"(more than {limit * _PIXEL_BYTES:,}, {_PIXEL_BYTES} bytes for each of PIL.Image.MAX_IMAGE_PIXELS)"
        )
