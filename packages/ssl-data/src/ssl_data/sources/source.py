"""The protocol of a source."""

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Source(Protocol):
    """Stored samples by position.

    A source may do more: say ``scaled_decoding``, and then give the ``size`` of an image before it is decoded and the image
    ``shrunk`` (:class:`ssl_data.BetonSource`); or give the bytes of a file by ``jpeg`` (:class:`ssl_data.FolderSource`).

    A source may have ``fingerprint()``, a string that changes when the images do: a run that is resumed compares it. Without
    it, images in memory are compared, or else only the labels, the ids and the names of the classes.

    Attributes
    ----------
    images : array or None
        ``(M, H, W, C) uint8`` where all samples lie in memory: then they are read without Python.
    labels : array
        ``(M,) int64``; -1 for no label.
    ids : array
        ``(M,) int64``: what the views' randomness is keyed on. A subset keeps the ids of its source.
    class_names : list of str
        One for each label; empty without labels.
    """

    images: NDArray[np.uint8] | None
    labels: NDArray[np.int64]
    ids: NDArray[np.int64]
    class_names: list[str]

    def __len__(self) -> int:
        """Return M."""

    def image(self, position: int) -> NDArray[np.uint8]:
        """Return one image, ``(H, W, C) uint8``."""


MOST_CLASSES = 2**20


def integer_labels(where: str, labels: ArrayLike) -> NDArray[np.int64]:
    """Return labels as ``(M,) int64``, if that changes none of them.

    Parameters
    ----------
    where : str
        Begins the message.
    labels : array
        ``(M,)``: integers, booleans, or floating-point numbers without a fraction; -1 for no label.

    Raises
    ------
    ValueError
        For any other label, such as 0.5, NaN, "cat" or -2.
    """
    try:
        array = np.asarray(labels)
    except ValueError:  # lists of several lengths
        array = np.asarray(None)
    if array.ndim != 1 or (len(array) and array.dtype.kind not in "iubf"):
        raise ValueError(f"{where}: expected one integer or name a label, got {array.dtype} {array.shape}")
    with np.errstate(invalid="ignore"):
        converted = array.astype(np.int64)
    wrong = (converted != array) | (converted < -1)
    if wrong.any():
        position = int(wrong.argmax())
        raise ValueError(
            f"{where}: sample {position} has the label {array[position]}: expected an integer from 0, or -1 for no label "
            f"({wrong.sum():,} of {len(array):,} labels are of another kind)"
        )
    return converted


def numbered_classes(where: str, labels: NDArray[np.int64]) -> list[str]:
    """Return the numbers of the classes as their names.

    Raises
    ------
    ValueError
        For a label that no class number is, such as one out of a damaged file: there would be a name for each below it.
    """
    highest = int(labels.max(initial=-1))
    if highest >= MOST_CLASSES:
        raise ValueError(
            f"{where}: sample {int(labels.argmax())} has the label {highest:,}, expected below {MOST_CLASSES:,}"
        )
    return [str(number) for number in range(highest + 1)]
