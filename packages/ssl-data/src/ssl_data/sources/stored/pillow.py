"""Conversion of images that Pillow has opened, with all bands and bits."""

from typing import Any

import numpy as np
from PIL import Image

from ssl_data.sources.files.bands import check_pages
from ssl_data.sources.source import Pixels, pixel_array

# Formats of 8 bits, and those that show if Pillow gives fewer bits than they have; None: made in memory
_COMPLETE = {None, "BMP", "DIB", "GIF", "ICO", "JPEG", "MPO", "PCX", "PNG", "PPM", "QOI", "TGA", "TIFF", "WEBP"}
_CONVERTED = {"1": "L", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB"}
_ADVICE = "store it as TIFF, PNG or .npy, or pass an array"


def stored_image(image: Image.Image, orient: Any) -> Pixels:
    """Return an image that PIL has opened as ``(H, W, C)``, uint8, uint16 or float32.

    Transparency is a band. A palette becomes colours, one bit the values 0 and 255.

    Parameters
    ----------
    image : Image
        An image of any mode whose pixels are not loaded yet: afterwards the number of bits is unknown.
    orient : callable
        Applied to the image after it is loaded.

    Raises
    ------
    ValueError
        For several frames, and for an image that has, or may have, more bits than Pillow gives.
    """
    check_pages(image)
    if has_deep_colours(image):
        raise ValueError(f"Pillow changes the depth of its {len(image.getbands())} bands; {_ADVICE}")
    if image.format not in _COMPLETE and not image.mode.startswith("I;16"):
        raise ValueError(f"Pillow may give fewer bits than a {image.format} file has; {_ADVICE}")
    image.load()
    image = orient(image)
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode in _CONVERTED:
        image = image.convert(_CONVERTED[image.mode])
    return pixel_array(np.asarray(image), 3)


def has_deep_colours(image: Image.Image) -> bool:
    """Return whether Pillow changes the depth of an image that is not loaded yet, such as 16 bits of RGB to 8."""
    tile = str(getattr(image, "tile", ""))
    return (";16" in tile or "'ppm" in tile) and not image.mode.startswith("I;16")
