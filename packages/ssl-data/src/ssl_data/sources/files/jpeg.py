"""JPEG files in memory, decoded by libjpeg-turbo through ``simplejpeg``.

Its pixels are those of FFCV or of Pillow, it releases the interpreter's lock, and it decodes at fractions of the size.
``runs/bench/jpeg_decoders.py`` compares it with others.
"""

import numpy as np
import simplejpeg
from numpy.typing import NDArray

SHRINKS = (8, 4, 2, 1)  # the scaled inverse transforms of a block of 8 by 8 that all versions of the library have

_HARMLESS = ("extraneous bytes", "Invalid SOS parameters")  # parts of warnings


def decode_jpeg(
    stored: NDArray[np.uint8], height: int, width: int, shrink: int = 1, fast: bool = False, tolerant: bool = False
) -> NDArray[np.uint8]:
    """Return the image of a JPEG file in memory, ``(ceil(height / shrink), ceil(width / shrink), 3) uint8``.

    Grey values are repeated. The EXIF orientation is not applied. Any number of threads decode at the same time.

    Parameters
    ----------
    stored : array
        ``(bytes,) uint8``, contiguous.
    height, width : int
        The expected size.
    shrink : {1, 2, 4, 8}
        Transform fewer frequencies of each block into a smaller image: faster than resizing the whole one, and not equal to it
        (see ``scaled_decoding`` of :class:`ssl_data.BetonSource`).
    fast : bool
        The less accurate inverse transform, whose pixels are those of FFCV. Default: the accurate one, whose pixels are those
        of Pillow and torchvision.
    tolerant : bool
        Accept surplus bytes and wrong parameters of a scan, with which the pixels are usually complete.

    Raises
    ------
    ValueError
        If it is damaged, cut off, in CMYK, or of another size.
    """
    if not len(stored):
        raise ValueError("it has no bytes")
    found_height, found_width, colors, _ = simplejpeg.decode_jpeg_header(stored)
    if (found_height, found_width) != (height, width):  # before memory is allocated for them
        raise ValueError(f"it has {found_width} x {found_height} pixels, expected {width} x {height}")
    if colors in ("CMYK", "YCCK"):
        raise ValueError("it is a JPEG in CMYK, expected RGB or grey")
    smallest = {"min_height": -(-height // shrink), "min_width": -(-width // shrink)} if shrink > 1 else {}
    try:
        return simplejpeg.decode_jpeg(stored, "RGB", fastdct=fast, **smallest)
    except ValueError as error:
        if not tolerant or not any(remark in str(error) for remark in _HARMLESS):
            raise
        return simplejpeg.decode_jpeg(stored, "RGB", fastdct=fast, strict=False, **smallest)
