"""The protocol of a source, and of what a source may offer beyond it."""

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Source(Protocol):
    """Stored samples by position. A source may also be a ScaledSource, a JPEGSource or a FingerprintedSource.

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


@runtime_checkable
class ScaledSource(Protocol):
    """A source that can decode an image at a fraction of its size, such as :class:`ssl_data.BetonSource`."""

    @property
    def scaled_decoding(self) -> bool:
        """Whether the loader uses the two functions below, where every view is still no larger than its part of the image."""

    def size(self, position: int) -> tuple[int, int]:
        """Return height and width of an image without decoding it."""

    def shrunk(self, position: int, shrink: int) -> NDArray[np.uint8]:
        """Return one image at ``1 / shrink`` of its size (1, 2, 4 or 8; rounded up), or whole if it is not compressed."""


@runtime_checkable
class JPEGSource(Protocol):
    """A source that knows its JPEG files, such as :class:`ssl_data.FolderSource`: ``write_beton`` copies them."""

    def jpeg(self, position: int) -> tuple[NDArray[np.uint8], int, int] | None:
        """Return the bytes of a JPEG file with its height and width, or None if it is not an upright JPEG in colour."""


@runtime_checkable
class FingerprintedSource(Protocol):
    """A source that identifies its images: compared when a run is resumed.

    Of another source the images in memory are compared, or else only the labels, the ids and the names of the classes.
    """

    def fingerprint(self) -> str:
        """Return a string that changes when the images do."""


MAX_CLASSES = 2**20


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
        For a label that is too large to be a class, as in a damaged file.
    """
    highest = int(labels.max(initial=-1))
    if highest >= MAX_CLASSES:
        raise ValueError(
            f"{where}: sample {int(labels.argmax())} has the label {highest:,}, expected below {MAX_CLASSES:,}"
        )
    return [str(number) for number in range(highest + 1)]
