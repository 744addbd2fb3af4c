"""Reading of image files with the bands and the depth that they have."""

import os
from contextlib import nullcontext
from typing import IO

from PIL import Image, UnidentifiedImageError

from ssl_data.sources.files.decode import ORIENTATION, upright
from ssl_data.sources.files.listing import is_special
from ssl_data.sources.source import Pixels, pixel_array
from ssl_data.sources.stored.array import check_bytes, upright_array
from ssl_data.sources.stored.npy import read_npy
from ssl_data.sources.stored.pillow import has_deep_colours, stored_image
from ssl_data.sources.stored.tiff import EXTRA, read_tiff

_NPY = b"\x93NUMPY"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two: BigTIFF


def read_stored(file: str | os.PathLike[str] | IO[bytes]) -> Pixels:
    """Return an image as ``(H, W, C)``, uint8, uint16 or float32, upright, with the bands and values that it has.

    The first bytes of a file decide: TIFF is read by tifffile, ``.npy`` by numpy, 16-bit colours of PNG by imagecodecs, and
    everything else by Pillow.

    Raises
    ------
    ImportError
        If a package that is needed is not installed.
    one of UNREADABLE
        If the file is damaged or not an image; if it takes more bytes than 4 for each of ``PIL.Image.MAX_IMAGE_PIXELS``; for
        other types, such as int16 or float64, several pages, NaN, and for more than 64 bands.
    """
    if isinstance(file, str | os.PathLike) and is_special(file):
        raise ValueError("it is not a regular file")  # opening a pipe would wait for its writer
    with open(file, "rb") if isinstance(file, str | os.PathLike) else nullcontext(file) as opened:
        first = opened.read(len(_NPY))
        opened.seek(0)
        if first == _NPY:
            return read_npy(file)
        if first.startswith(_TIFF):
            return read_tiff(file)
        try:
            image = Image.open(opened)
        except UnidentifiedImageError as error:
            raise ValueError("it is not an image: neither TIFF nor .npy nor a format that Pillow knows") from error
        with image:
            deep = has_deep_colours(image)
            check_bytes((image.height, image.width, len(image.getbands())), _dtype(image.mode, deep))
            if deep and image.format == "PNG":
                opened.seek(0)
                return _deep_png(opened.read(), image)
            return stored_image(image, upright)


def _dtype(mode: str, deep: bool) -> str:
    return "float32" if mode in ("F", "I") else "uint16" if deep or mode.startswith("I;16") else "uint8"


def _deep_png(content: bytes, image: Image.Image) -> Pixels:
    """Return the 16-bit colours of a PNG. At a damaged one torchvision's decoder would end the process."""
    try:
        from imagecodecs import png_decode
    except ModuleNotFoundError as error:
        raise ImportError(f"pixels='stored': 16-bit colours of PNG need the package imagecodecs: {EXTRA}") from error
    try:
        array = png_decode(content)
    except RuntimeError as error:
        raise ValueError(f"it is a damaged PNG: {error}") from error
    return pixel_array(upright_array(array, image.getexif().get(ORIENTATION) if "exif" in image.info else None), 3)
