"""JPEG by libjpeg-turbo, through the library that FFCV was built with.

Written by hand since FFCV's ``imdecode`` keeps a decoder for each thread that ever called it (a leak with the threads of each
epoch) and ignores the decoder's errors, so that damaged files become noise. The pixels are equal: a test compares them.
"""

import ctypes
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HINT = "ffcv is not installed: apt-get install pkg-config libopencv-dev libturbojpeg0-dev, then pip install ffcv"
SHRINKS = (8, 4, 2, 1)  # the scaled inverse transforms of a block of 8 by 8, which all of its versions have

_RGB, _FAST_DCT = 0, 2048  # TJPF_RGB; TJFLAG_FASTDCT, as FFCV
_HARMLESS = ("extraneous bytes", "Invalid SOS parameters")  # warnings about files whose pixels are complete


def decode_jpeg(stored: NDArray[np.uint8], height: int, width: int, shrink: int = 1) -> NDArray[np.uint8]:
    """Return the image of a JPEG file in memory, ``(ceil(height / shrink), ceil(width / shrink), 3) uint8``.

    Called without the interpreter's lock, from any number of threads.

    Parameters
    ----------
    stored : array
        ``(bytes,) uint8``, contiguous.
    height, width : int
        The expected size.
    shrink : {1, 2, 4, 8}
        Transform fewer frequencies of each block into a smaller image: faster than resizing the whole one, and not equal to it
        (see ``scaled_decoding`` of :class:`ssl_data.BetonSource`).

    Raises
    ------
    ValueError
        If it is damaged, cut off, or of another size.
    """
    library = turbojpeg()
    source, size, found = stored.ctypes.data, ctypes.c_ulong(len(stored)), [ctypes.c_int() for _ in range(4)]
    decoder = library.tjInitDecompress()  # 10 microseconds, against hundreds for an image
    try:
        if library.tjDecompressHeader3(decoder, source, size, *map(ctypes.byref, found)):
            raise ValueError(_said(library, decoder))
        if (found[1].value, found[0].value) != (height, width):
            raise ValueError(f"it has {found[0].value} x {found[1].value} pixels, expected {width} x {height}")
        image = np.empty((-(-height // shrink), -(-width // shrink), 3), np.uint8)
        rows, columns, _ = image.shape
        wrong = library.tjDecompress2(decoder, source, size, image.ctypes.data, columns, 0, rows, _RGB, _FAST_DCT)
        if wrong and not any(remark in _said(library, decoder) for remark in _HARMLESS):
            raise ValueError(_said(library, decoder))
        return image
    finally:
        library.tjDestroy(decoder)


def _said(library: ctypes.CDLL, decoder: ctypes.c_void_p) -> str:
    return library.tjGetErrorStr2(decoder).decode(errors="replace")


@cache
def turbojpeg() -> ctypes.CDLL:
    """Return the library; raise an ImportError without FFCV. FFCV is not imported, since that compiles for seconds."""
    ffcv = importlib.util.find_spec("ffcv")
    folders = (ffcv.submodule_search_locations if ffcv else None) or []
    found = [path for folder in folders for path in Path(folder).glob("_libffcv*") if path.suffix in (".so", ".pyd")]
    if not found:
        raise ImportError(HINT)
    library = ctypes.CDLL(str(found[0]))  # also finds the functions of the libraries that it is linked with
    pointer: Any = ctypes.c_void_p
    number: Any = ctypes.c_int
    library.tjInitDecompress.restype = pointer
    library.tjInitDecompress.argtypes = []
    library.tjDestroy.argtypes = [pointer]
    library.tjDecompressHeader3.argtypes = [pointer, pointer, ctypes.c_ulong] + 4 * [ctypes.POINTER(number)]
    library.tjDecompress2.argtypes = [pointer, pointer, ctypes.c_ulong, pointer] + 5 * [number]
    library.tjGetErrorStr2.restype = ctypes.c_char_p
    library.tjGetErrorStr2.argtypes = [pointer]
    return library
