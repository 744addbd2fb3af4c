"""The protocol of a source, and of what a source may offer beyond it."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Pixels = NDArray[Any]  # uint8, uint16 or float32; C from 1 to 64 bands


class Source(Protocol):
    """Stored samples by position. A source may also be a ScaledSource, a JPEGSource, a FingerprintedSource or a RangedSource.

    Attributes
    ----------
    images : array or None
        ``(M, H, W, C)`` uint8, uint16 or float32 where all samples lie in memory: then they are read without Python.
    labels : array
        ``(M,) int64``; -1 for no label.
    ids : array
        ``(M,) int64``: what the views' randomness is keyed on. A subset keeps the ids of its source.
    class_names : list of str
        One for each label; empty without labels.
    """

    images: Pixels | None
    labels: NDArray[np.int64]
    ids: NDArray[np.int64]
    class_names: list[str]

    def __len__(self) -> int:
        """Return M."""

    def image(self, position: int) -> Pixels:
        """Return one image, ``(H, W, C)`` uint8, uint16 or float32: type and bands are those of all samples."""


@runtime_checkable
class RangedSource(Protocol):
    """A source with a range of values that is not that of its type, such as 12-bit data in uint16."""

    @property
    def value_range(self) -> tuple[float, float] | None:
        """The stored values that become 0 and 1 in the engine; None: by the type. See :func:`value_range`."""


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
class FileSource(Protocol):
    """A source that replaces unreadable images, such as :class:`ssl_data.FolderSource`: a report reads the stored ones."""

    def stored_image(self, position: int) -> NDArray[np.uint8]:
        """Return one image, never a replacement; an image that cannot be read is an error."""

    def describe(self, position: int) -> str:
        """Return how messages call a sample, such as its path in quotes."""


@runtime_checkable
class FingerprintedSource(Protocol):
    """A source that identifies its images: compared when a run is resumed.

    Of another source the images in memory are compared, or else only the labels, the ids and the names of the classes.
    """

    def fingerprint(self) -> str:
        """Return a string that changes when the images do."""


MAX_CLASSES = 2**20
MAX_BANDS = 64
_RANGES = {"uint8": (0.0, 255.0), "uint16": (0.0, 65535.0), "float32": (0.0, 1.0)}  # default: stored values of 0 and 1


def value_range(source: Source | np.dtype[Any] | type[Any], dtype: np.dtype[Any] | None = None) -> tuple[float, float]:
    """Return the stored values that become 0 and 1 in the engine.

    Parameters
    ----------
    source : Source or dtype
        A source, whose ``value_range`` is returned if it has one; else that of the type: uint8 ``(0, 255)``, uint16
        ``(0, 65535)``, float32 ``(0, 1)``.
    dtype : dtype, optional
        dtype of the images, if it is known; otherwise an image may have to be read.
    """
    if isinstance(source, np.dtype | type):
        return _RANGES[np.dtype(source).name]
    given = source.value_range if isinstance(source, RangedSource) else None
    if given is not None:
        return float(given[0]), float(given[1])
    dtype = dtype or (source.image(0) if source.images is None else source.images).dtype
    return _RANGES[dtype.name]


def pixel_array(array: ArrayLike, dimensions: int) -> Pixels:
    """Return an image ``(H, W, C)`` or, with ``dimensions=4``, images ``(M, H, W, C)``; without C they get one band.

    Values are not changed; the byte order becomes that of the machine.

    Raises
    ------
    ValueError
        For another type or shape, or more than 64 bands. The message has no name of the image.
    """
    given = np.asarray(array)
    expected = (
        f"expected {'(M, H, W, C)' if dimensions == 4 else '(H, W, C)'} uint8, uint16 or float32 with 1 to 64 bands"
    )
    native = given.dtype.newbyteorder("=")
    if native.name not in _RANGES:
        advice = {"b": "255 * images.astype('uint8')", "f": "images.astype('float32')"}.get(
            native.kind, "images.astype('float32') with value_range=(lowest, highest)"
        )
        raise ValueError(f"{expected}, got {given.dtype} {given.shape}; use {advice}")
    given = given[..., None] if given.ndim == dimensions - 1 else given
    if given.ndim != dimensions or not 0 < given.shape[-1] <= MAX_BANDS or 0 in given.shape[-3:-1]:
        advice = "; the bands are the last axis: use numpy.moveaxis(images, -3, -1)" if given.ndim == dimensions else ""
        raise ValueError(f"{expected}, got {given.dtype} {given.shape}{advice}")
    return np.ascontiguousarray(given, native)


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
