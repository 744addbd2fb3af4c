"""Conversion of images to 8-bit RGB, with an error for those that do not fit.

Written by hand since ``Image.convert("RGB")`` drops bands, grey levels and pages without a word.
"""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

# Further images of an MPO are previews, those of a PSD layers
_WITH_FRAMES = {"AVIF", "DCX", "FLI", "GIF", "PNG", "TIFF", "WEBP"}
_ADVICE = "convert it to 8-bit RGB or grey first"
_PAGES, _BANDS, _BITS = 254, 277, 258  # tags of TIFF: NewSubfileType, SamplesPerPixel, BitsPerSample
_REDUCED_OR_MASK = 0b101  # of NewSubfileType: a smaller copy of another page, or its mask
_HALF = 2**15  # of the range of 16 bits


class NotRGB8Error(ValueError):
    """An image that does not fit into 8-bit RGB; ``pixels="stored"`` gives it with its bands and its depth."""


def rgb_pixels(image: Image.Image, orient: Any) -> NDArray[np.uint8]:
    """Return an image that PIL has opened as ``(H, W, 3) uint8``, without losing information.

    Parameters
    ----------
    image : Image
        An image of any mode whose pixels are not loaded yet: afterwards the number of bits is unknown.
    orient : callable
        Applied to the image after it is loaded.

    Raises
    ------
    ValueError
        With bands and bits, as described for :func:`ssl_data.sources.files.decode.decode`; a NotRGB8Error where
        ``pixels="stored"`` helps.
    """
    check_pages(image)
    sixteen_bits = ";16" in str(getattr(image, "tile", ""))  # PIL gives colours of 16 bits as 8 bits
    image.load()
    image = orient(image)
    if image.mode == "F":
        raise NotRGB8Error(f"its pixels are floating-point numbers (1 band of 32 bits); {_ADVICE}")
    if image.mode.startswith("I"):
        return _scaled_grey(np.asarray(image))
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or (image.mode == "P" and "transparency" in image.info):
        image = image.convert("RGBA")
        low, high = image.getchannel("A").getextrema()
        if low != high:
            raise NotRGB8Error(
                f"it has 4 bands of {16 if sixteen_bits else 8} bits, and the fourth (transparency) is not constant; "
                f"{_ADVICE}, over a background of one colour"
            )
    array = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    if sixteen_bits and array.max(initial=0) < _HALF // 256:
        _raise_for_low_values(3, int(array.max(initial=0)) * 256 + 255)
    return array


def check_pages(image: Image.Image) -> None:
    """Raise a ValueError for an image of several pages or frames, and for a TIFF with more bands than PIL gives."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bands = image.tag_v2.get(_BANDS, 1)
        if bands > len(image.getbands()):
            raise NotRGB8Error(
                f"it has {bands} bands of {_bits(image.tag_v2)} bits, of which {len(image.getbands())} would be read; "
                f"{_ADVICE}"
            )
    if image.format not in _WITH_FRAMES or not getattr(image, "is_animated", False):
        return
    frames = _full_pages(image) if isinstance(image, TiffImagePlugin.TiffImageFile) else getattr(image, "n_frames", 1)
    if frames > 1:
        raise ValueError(f"it has {frames} pages or frames, of which one would be read; store each in a file")


def explain_tiff(path: str | os.PathLike[str]) -> str | None:
    """Return bands and bits of a TIFF file that PIL does not open, or None if that is not the reason."""
    try:
        with open(path, "rb") as file:
            directory = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
            file.seek(directory.next)
            directory.load(file)
            return f"Pillow cannot read a TIFF of {directory[_BANDS]} bands of {_bits(directory)} bits; {_ADVICE}"
    except Exception:  # not a TIFF, or a damaged one: PIL's own error is the one to show
        return None


def _full_pages(image: TiffImagePlugin.TiffImageFile) -> int:
    """Return the number of pages that are not smaller copies of others."""
    full = 0
    for page in range(image.n_frames):
        image.seek(page)
        full += not image.tag_v2.get(_PAGES, 0) & _REDUCED_OR_MASK
    image.seek(0)
    return full


def _bits(tags: Any) -> int:
    bits = tags.get(_BITS, 1)
    return max(bits) if isinstance(bits, tuple) else bits


def _scaled_grey(grey: NDArray[Any]) -> NDArray[np.uint8]:
    """Return grey values of 16 bits as three bands of 8."""
    low, high = int(grey.min(initial=0)), int(grey.max(initial=0))
    if low < 0 or high >= 2 * _HALF:
        raise ValueError(f"its pixels are integers from {low:,} to {high:,} (1 band of 32 bits); {_ADVICE}")
    scaled = np.round(grey.astype(np.float64) / 257).astype(np.uint8)
    if high < _HALF and not np.array_equal(scaled.astype(np.int64) * 257, grey):
        _raise_for_low_values(1, high)
    return np.repeat(scaled[..., None], 3, axis=2)


def _raise_for_low_values(bands: int, high: int) -> None:
    raise NotRGB8Error(
        f"it has {bands} {'band' if bands == 1 else 'bands'} of 16 bits with no value above {high:,} of 65,535: 8 bits would "
        f"keep {high // 257 + 1} grey levels; {_ADVICE}, scaled by its own range"
    )
