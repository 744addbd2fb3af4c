"""Reading of TIFF files of any number of bands, by tifffile."""

import os
from typing import IO, Any

import numpy as np

from ssl_data.sources.source import Pixels, pixel_array
from ssl_data.sources.stored.array import check_bytes, upright_array

EXTRA = "pip install 'ssl-data[tiff]'"

_BANDS_FIRST, _BANDS_LAST = ("SYX", "CYX"), ("YXS", "YXC")  # as tifffile names axes: S samples of a pixel, C channels
_REDUCED_OR_MASK = 0b101  # of NewSubfileType: a smaller copy of another page, or its mask
_PALETTE = 3  # of PhotometricInterpretation


def read_tiff(file: str | os.PathLike[str] | IO[bytes]) -> Pixels:
    """Return the image of a TIFF file as ``(H, W, C)``, upright, with the values that are stored.

    Bands are interleaved or planar. Pages are bands only where the metadata of the file call them channels (axes ``CYX``, as
    ImageJ and OME write). Smaller copies and masks of the image are left out. The tags of GeoTIFF are ignored, the value for
    missing data among them, and so is ``WhiteIsZero``.

    Raises
    ------
    ImportError
        If tifffile is not installed.
    ValueError
        For a damaged file; several pages; a palette; or what :func:`pixel_array` does not accept.
    """
    try:
        import tifffile
    except ModuleNotFoundError as error:
        raise ImportError(f"pixels='stored': TIFF files need the package tifffile: {EXTRA}") from error
    try:
        with tifffile.TiffFile(file) as opened:
            images = [each for each in opened.series if not each.keyframe.subfiletype & _REDUCED_OR_MASK]
            problem = _problem(images, len(opened.pages))
            if problem is None:
                array, axes = images[0].asarray(maxworkers=1), images[0].axes  # the loader has threads of its own
                orientation = images[0].keyframe.tags.valueof("Orientation")
    except Exception as error:  # of many types, for a damaged file
        hint = f"; {EXTRA}" if "imagecodecs" in str(error) else ""
        raise ValueError(f"tifffile cannot read it: {str(error) or type(error).__name__}{hint}") from error
    if problem is not None:
        raise ValueError(problem)
    array = array[..., None] if axes == "YX" else np.moveaxis(array, 0, -1) if axes in _BANDS_FIRST else array
    return pixel_array(upright_array(array, orientation), 3)


def _problem(images: list[Any], pages: int) -> str | None:
    """Return why the images of a file are not read, or None."""
    if len(images) != 1 or images[0].axes not in ("YX", *_BANDS_FIRST, *_BANDS_LAST):
        first = f", the first image has the shape {images[0].shape} and the axes {images[0].axes}" if images else ""
        return (
            f"it has {pages} pages{first}; expected one image, whose bands are samples of a pixel or pages that are named "
            "channels: write it with planarconfig='separate' or metadata={'axes': 'CYX'}, or store each page in a file"
        )
    if images[0].keyframe.photometric == _PALETTE:
        return "its values are indices of a palette; convert it to grey or colour"
    check_bytes(images[0].shape, images[0].dtype)
    return None
