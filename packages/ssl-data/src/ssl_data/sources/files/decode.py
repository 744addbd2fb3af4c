"""Decoding of image files."""

import io
import os
import struct
import zlib
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ssl_data.sources.files.bands import NotRGB8Error, explain_tiff, rgb_pixels
from ssl_data.sources.files.jpeg import decode_jpeg
from ssl_data.sources.files.listing import is_special

#: The errors that PIL and its plug-ins raise for a file that is damaged or not an image.
UNREADABLE = (
    OSError, ValueError, SyntaxError, EOFError, OverflowError, MemoryError, struct.error, zlib.error,
    Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip

ORIENTATION = 0x0112  # the EXIF tag of the orientation


def decode(file: str | os.PathLike[str] | IO[bytes]) -> NDArray[np.uint8]:
    """Return an image as ``(H, W, 3) uint8``, upright.

    Grey values are repeated, palettes and CMYK are converted. 16 bits are scaled to 8 if the image uses at least half of the
    range. A fourth band, such as transparency, is dropped if it is constant.

    Raises
    ------
    one of UNREADABLE
        If the file is damaged or not an image; if it has more pixels than ``PIL.Image.MAX_IMAGE_PIXELS`` (a few bytes can
        claim to be gigabytes); if 8-bit colours would lose information: floating-point numbers, 16-bit files with values of
        fewer bits, a fourth band that varies, more than four bands, several pages or frames.
    """
    if isinstance(file, str | os.PathLike) and is_special(file):
        raise ValueError("it is not a regular file")  # opening a pipe would wait for its writer
    try:
        with Image.open(file) as opened:
            check_pixels(*opened.size)
            quickly = _jpeg_pixels(opened)
            return rgb_image(opened) if quickly is None else quickly
    except UnidentifiedImageError as error:
        reason = explain_tiff(file) if isinstance(file, str | os.PathLike) else None
        if reason is None:
            raise
        raise NotRGB8Error(reason) from error


def jpeg(file: str | os.PathLike[str] | bytes) -> tuple[NDArray[np.uint8], int, int] | None:
    """Return the bytes of a JPEG file (path or content) with height and width, or None if it is no upright JPEG in colour.

    Raises
    ------
    one of UNREADABLE
        As :func:`decode`.
    """
    with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as opened:
        check_pixels(*opened.size)
        opened.load()  # a file that is cut off shows only here
        if opened.format != "JPEG" or opened.mode != "RGB" or _is_turned(opened):
            return None
        content = np.frombuffer(file, np.uint8) if isinstance(file, bytes) else np.fromfile(file, np.uint8)
        return content, opened.height, opened.width


def rgb_image(image: Image.Image) -> NDArray[np.uint8]:
    """Return an image that PIL has opened as ``(H, W, 3) uint8``; see :func:`decode`."""
    return rgb_pixels(image, upright)


def _jpeg_pixels(opened: Image.Image) -> NDArray[np.uint8] | None:
    """Return the pixels of an upright JPEG in RGB or grey, in two thirds of Pillow's time, or None: then Pillow decides.

    They are equal to Pillow's, which uses libjpeg-turbo with the same options.
    """
    if opened.format != "JPEG" or opened.mode not in ("RGB", "L") or _is_turned(opened):
        return None
    file: Any = opened.fp  # type: ignore[attr-defined]
    file.seek(0)
    try:
        return decode_jpeg(np.frombuffer(file.read(), np.uint8), opened.height, opened.width)
    except ValueError:
        return None


def _is_turned(image: Image.Image) -> bool:
    return image.getexif().get(ORIENTATION, 1) != 1


def upright(image: Image.Image) -> Image.Image:
    """Return an image turned by its EXIF tag."""
    return ImageOps.exif_transpose(image) if _is_turned(image) else image


def check_pixels(width: int, height: int) -> None:
    """Raise a ValueError for more pixels than ``PIL.Image.MAX_IMAGE_PIXELS``, where PIL itself only warns."""
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise ValueError(
            f"{width} x {height} pixels may be a decompression bomb (more than {Image.MAX_IMAGE_PIXELS:,}, "
            "PIL.Image.MAX_IMAGE_PIXELS)"
        )
