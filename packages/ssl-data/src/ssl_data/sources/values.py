"""Checks of pixel values against the range that the engine maps to [0, 1]."""

from weakref import WeakKeyDictionary

import numpy as np

from ssl_data.sources.source import Pixels, Source, value_range

_CHUNK = 2**24  # numbers that are checked at a time
_CHECKED: WeakKeyDictionary[Source, tuple[int, tuple[float, float]]] = WeakKeyDictionary()


def check_values(image: Pixels, allowed: tuple[float, float], name: str) -> None:
    """Check that the values of one image ``(H, W, C)`` lie in a range; nothing is computed where the type ensures that.

    Parameters
    ----------
    image : array
        uint8, uint16 or float32.
    allowed : tuple of float
        The lowest and the highest value.
    name : str
        How messages call the image.

    Raises
    ------
    ValueError
        With the value, its place and what to do, also for NaN and infinity.
    """
    low, high = allowed
    if image.dtype.kind == "u" and low <= 0 and high >= np.iinfo(image.dtype).max:
        return
    if low <= image.min() and image.max() <= high:  # False for NaN, which both return
        return
    wrong = ~((image >= low) & (image <= high))
    row, column, band = (int(axis[0]) for axis in np.nonzero(wrong))
    value = image[row, column, band]
    advice = (
        "replace it"
        if not np.isfinite(value)
        else "set value_range to the lowest and the highest value, or clip the images"
    )
    raise ValueError(
        f"{name}: the value {value:g} in row {row}, column {column}, band {band} is outside of value_range=({low:g}, {high:g}) "
        f"({int(wrong.sum()):,} of {image.size:,} values are); {advice}"
    )


def check_stored_values(source: Source) -> None:
    """Check all values of a source in memory, once for each source.

    Raises
    ------
    ValueError
        As :func:`check_values`; the sample is called by its id.
    """
    if source.images is None or not len(source.images):
        return
    allowed = value_range(source)
    if _CHECKED.get(source) == (id(source.images), allowed):
        return
    step = max(1, _CHUNK // source.images[0].size)
    for first in range(0, len(source.images), step):
        chunk = source.images[first : first + step]
        try:
            check_values(chunk.reshape(len(chunk), -1, 1), allowed, "")
        except ValueError:
            for position, image in enumerate(chunk, first):
                check_values(image, allowed, f"sample {source.ids[position]}")
    _CHECKED[source] = id(source.images), allowed
