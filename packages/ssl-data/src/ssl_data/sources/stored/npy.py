"""Reading of ``.npy`` files."""

import os
from typing import IO

import numpy as np

from ssl_data.sources.source import Pixels
from ssl_data.sources.stored.array import check_bytes, stored_array


def read_npy(file: str | os.PathLike[str] | IO[bytes]) -> Pixels:
    """Return the array of a ``.npy`` file as :func:`stored_array` does.

    Raises
    ------
    ValueError
        For a damaged file, one of pickled objects, or an array that :func:`stored_array` does not accept.
    """
    is_path = isinstance(file, str | os.PathLike)
    try:  # a map of a file compares its length with the shape before anything is read
        array = np.load(file, mmap_mode="r" if is_path else None, allow_pickle=False)
    except Exception as error:  # of many types, for a damaged file
        raise ValueError(f"numpy cannot load it (without pickled objects): {error}") from error
    check_bytes(array.shape, array.dtype)
    return stored_array(np.array(array))
