"""The pixels of an image of any kind, in a file or opened by PIL."""

import os
import struct
import zlib
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
#: What PIL raises for a file that is damaged, or no image: its plug-ins let through what they stumble over.
UNREADABLE = (
    OSError, ValueError, SyntaxError, EOFError, OverflowError, MemoryError, struct.error, zlib.error,
    Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip

_ORIENTATION = 0x0112  # the EXIF tag that says how the camera was held


def decode(file: str | os.PathLike[str] | IO[bytes]) -> NDArray[np.uint8]:
    """Return an image as ``(H, W, 3) uint8``: any mode of PIL, 16 bits scaled to 8, upright, the first of several frames.

    Raises
    ------
    one of UNREADABLE
        If the file is damaged or no image, holds floating-point numbers (what is white in it?), or has more pixels than
        ``PIL.Image.MAX_IMAGE_PIXELS``: a few bytes can claim to be gigabytes.
    """
    with Image.open(file) as opened:
        check_pixels(*opened.size)
        opened.load()
        return pixels(opened)


def jpeg(path: str | os.PathLike[str]) -> tuple[NDArray[np.uint8], int, int] | None:
    """Return the bytes of a JPEG file with its height and width, or None if it is none in colour and upright.

    Raises
    ------
    one of UNREADABLE
        As :func:`decode`.
    """
    with Image.open(path) as opened:
        check_pixels(*opened.size)
        opened.load()  # a file that is cut off shows only here
        if opened.format != "JPEG" or opened.mode != "RGB" or opened.getexif().get(_ORIENTATION, 1) != 1:
            return None
        return np.fromfile(path, np.uint8), opened.height, opened.width


def pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Return an image that PIL has opened as ``(H, W, 3) uint8``; see :func:`decode`."""
    if image.getexif().get(_ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers; store them as 8 or 16 bits")
    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.float64)
        return np.repeat(np.clip(grey / 257, 0, 255).round().astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def check_pixels(width: int, height: int) -> None:
    """Raise a ValueError for more pixels than ``PIL.Image.MAX_IMAGE_PIXELS``, where PIL itself only warns."""
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise ValueError(
            f"{width} x {height} pixels may be a decompression bomb (more than {Image.MAX_IMAGE_PIXELS:,}, "
            "PIL.Image.MAX_IMAGE_PIXELS)"
        )
