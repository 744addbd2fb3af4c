"""Anything with ``__len__`` and ``__getitem__``: a data set of torch or of Hugging Face, a list, a user-defined class."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ssl_data.errors import ArgumentError
from ssl_data.sources.files.bands import NotRGB8Error
from ssl_data.sources.files.decode import UNREADABLE, decode, rgb_image, upright
from ssl_data.sources.fingerprint import array_fingerprint, files_fingerprint, samples_fingerprint
from ssl_data.sources.lazy import MEMORY, StoredSource
from ssl_data.sources.source import Pixels, integer_labels, numbered_classes
from ssl_data.sources.stored import read_stored, stored_array, stored_image
from ssl_data.sources.unreadable import SKIP_LIMIT

IMAGE_KEYS = ("image", "img", "picture", "pixels", "png", "jpg")  # of a mapping, the first that it has
LABEL_KEYS = ("label", "labels", "fine_label", "class", "target", "cls")

Key = str | int


class IndexedSource(StoredSource):
    """The samples of an indexed data set: ``dataset[i]`` is a mapping, a tuple ``(image, label)``, or an image.

    An image is a PIL image, a ``(H, W)`` or ``(H, W, C)`` uint8 array, the bytes of an image file, or a mapping with
    such ``bytes`` or a ``path`` (Hugging Face's ``Image(decode=False)``). Labels are integers, or names, which are sorted;
    None is no label.

    Parameters
    ----------
    dataset : object
        With ``__len__`` and ``__getitem__``, without random transforms: the views are made here. Several threads read it
        at the same time; if it is not thread-safe (an open HDF5 file), use ``num_workers=1`` in the loader.
    image, label : str or int, optional
        Where a sample keeps them. Default: places 0 and 1 of a tuple; of a mapping the first of ``IMAGE_KEYS`` and of
        ``LABEL_KEYS``.
    channels : int, optional
        1 or 3; default: as the first image. Grey images are repeated where it is 3. Only for ``pixels="rgb8"``.
    class_names : sequence of str, optional
        Names of the labels 0, 1, ...; of labels that are names, their order. Default: those of the data set.
    on_error, memory, num_workers, skip_limit, value_range
        As for :class:`FolderSource`.
    pixels : {"rgb8", "stored"}
        With ``stored`` an image may also be a PIL image of mode ``I;16`` or ``F``, an array of uint16 or float32 with 1 to 64
        bands, or a file that :func:`ssl_data.sources.stored.read_stored` reads, as bytes or path.

    Raises
    ------
    ValueError
        For a data set without a length, a sample without an image, an image of another kind, labels that are not one for
        each sample, or an unreadable sample.

    Examples
    --------
    >>> import numpy as np
    >>> from ssl_data import IndexedSource
    >>> source = IndexedSource([{"img": np.zeros((8, 8, 3), np.uint8), "label": name} for name in ("dog", "cat", "dog")])
    >>> source.class_names, source.labels.tolist(), source.image(0).shape
    (['cat', 'dog'], [1, 0, 1], (8, 8, 3))
    """

    def __init__(
        self,
        dataset: Any,
        image: Key | None = None,
        label: Key | None = None,
        channels: int | None = None,
        on_error: str = "raise",
        memory: int = MEMORY,
        num_workers: int = 1,
        skip_limit: float = SKIP_LIMIT,
        pixels: str = "rgb8",
        value_range: tuple[float, float] | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        if pixels == "stored" and channels is not None:
            raise ArgumentError(
                "channels", channels, "expected None: with pixels='stored' they are those of the images"
            )
        self._dataset, self._name = dataset, f"data set {type(dataset).__name__}"
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__") or len(dataset) == 0:
            raise ValueError(f"{self._name}: {not_by_position(dataset)}")
        if pixels == "stored":
            self._dataset = _undecoded(self._name, dataset)
        sample = self._any_sample()
        self._image_key, self._label_key = sample_keys(self._name, sample, image, label)
        if self._image_key is None and isinstance(sample, Mapping):
            several = ", ".join(map(repr, sample))
            raise ValueError(f"{self._name}: several keys may be the image: {several}; pass image=KEY")
        given = self._stored_labels()
        labels, names = numbered_labels(self._name, self._read_labels() if given is None else given, class_names)
        names = checked_names(self._name, labels, class_names) or names or self._names(labels)
        super().__init__(self._name, labels, names, on_error, skip_limit, pixels=pixels, value_range=value_range)
        self._channels = channels or 0
        self._channels = self._channels or self.image(0).shape[2]
        if memory:
            self.load_into_memory(memory, num_workers)

    def fingerprint(self) -> str:
        """Return what the data set's own ``fingerprint()`` does, else a digest of the images, files or some samples."""
        own, samples = getattr(self._dataset, "fingerprint", None), _listed(self._dataset)
        if callable(own):
            return str(own())
        if self.images is not None:
            return array_fingerprint(self.images)
        if samples and hasattr(self._dataset, "root"):
            return files_fingerprint([path for path, _ in samples], self._dataset.root)
        return samples_fingerprint(len(self), self.image)

    def _any_sample(self) -> Any:
        """Return the first sample that can be read: the others are laid out as it is."""
        why = ""
        for position in range(len(self._dataset)):
            try:
                return self._dataset[position]
            except UNREADABLE as error:  # named when it is asked for
                why = f"{type(error).__name__}: {error}"
        raise ValueError(f"{self._name}: none of its {len(self._dataset)} samples can be read; the last raised {why}")

    def _read(self, position: int) -> Pixels:
        sample = self._dataset[position]
        image = sample if self._image_key is None else sample[self._image_key]
        if self.pixels == "stored":
            return _stored_pixels(image)
        array = _pixels(image)
        if self._channels in (0, array.shape[2]):
            return array
        if self._channels == 1:
            raise ValueError("it has three channels, and the first image has one; pass channels=3")
        return np.repeat(array, 3, axis=2)

    def _stored_labels(self) -> Any | None:
        """Return the labels where they can be had without the images: a column of Hugging Face's, or None."""
        if self._label_key is None:
            return [None] * len(self._dataset)
        if self._label_key in (getattr(self._dataset, "column_names", None) or ()):
            return list(self._dataset[self._label_key])
        return None

    def _names(self, labels: NDArray[np.int64]) -> list[str]:
        """Return the names of the classes as torchvision or Hugging Face keeps them, else the numbers."""
        feature = (getattr(self._dataset, "features", None) or {}).get(self._label_key)
        names = getattr(feature, "names", None) or getattr(self._dataset, "classes", None) or ()
        numbers = numbered_classes(self._name, labels)
        return [str(name) for name in names] if len(names) >= len(numbers) else numbers

    def _read_labels(self) -> list[Any]:
        labels = []
        for position in range(len(self._dataset)):
            try:
                labels.append(self._dataset[position][self._label_key])
            except UNREADABLE as error:
                raise ValueError(
                    f"{self._name}: sample {position}, {self._describe(position)}, cannot be read, and its label is stored "
                    f"with its image: {error}"
                ) from error
        return labels

    def _describe(self, position: int) -> str:
        samples = _listed(self._dataset)
        return f"'{samples[position][0]}'" if samples else f"dataset[{position}]"


def _listed(dataset: Any) -> list[tuple[str, int]]:
    """Return the files and labels of torchvision's folders; an empty list for another data set."""
    samples = getattr(dataset, "samples", None)
    return samples if isinstance(samples, list) and samples and isinstance(samples[0], tuple) else []


def not_by_position(dataset: Any) -> str:
    """Return what an object lacks that a data set with samples by position has, for a message."""
    missing = [name for name in ("__len__", "__getitem__") if not hasattr(dataset, name)]
    found = f"it has no {' and no '.join(missing)}" if missing else "it is empty"
    hint = "; make a list of a stream" if missing and hasattr(dataset, "__iter__") else ""
    return f"{found}: expected samples by position, with __len__ and __getitem__, and at least one{hint}"


def sample_keys(name: str, sample: Any, image: Key | None, label: Key | None) -> tuple[Key | None, Key | None]:
    """Return where a sample keeps its image (None: it is one) and its label (None: it has none)."""
    if isinstance(sample, Mapping):
        for wanted in (image, label):
            if wanted is not None and wanted not in sample:
                raise ValueError(f"{name}: a sample has no {wanted!r}, it has {', '.join(map(repr, sample))}")
        image = image if image is not None else next((key for key in IMAGE_KEYS if key in sample), None)
        label = label if label is not None else next((key for key in LABEL_KEYS if key in sample), None)
    elif isinstance(sample, tuple | list):
        image = 0 if image is None else image
        label = 1 if label is None and len(sample) > 1 else label
    return image, label


def numbered_labels(
    name: str, labels: Any, class_names: Sequence[str] | None = None
) -> tuple[NDArray[np.int64], list[str]]:
    """Return the labels as ``(M,) int64``, and the names if they are names: numbered as ``class_names``, or else sorted."""
    given = labels.tolist() if hasattr(labels, "tolist") else list(labels)
    present = [position for position, label in enumerate(given) if label is not None]
    named = [isinstance(given[position], str) for position in present]
    if any(named) and not all(named):
        first, other = present[named.index(True)], present[named.index(False)]
        raise ValueError(
            f"{name}: sample {first} has the label {given[first]!r} and sample {other} {given[other]!r}: expected integers, "
            "or names, or None for no label"
        )
    if not any(named):
        return integer_labels(name, [-1 if label is None else label for label in given]), []
    found, inverse = np.unique([given[position] for position in present], return_inverse=True)
    names = list(class_names or found.tolist())
    unknown = sorted({*found.tolist()} - {*names})
    if unknown:
        first = given.index(unknown[0])
        raise ValueError(f"{name}: sample {first} has the label {unknown[0]!r}: expected one of class_names={names}")
    numbers = np.full(len(given), -1, np.int64)
    numbers[present] = np.array([names.index(each) for each in found.tolist()], np.int64)[inverse]
    return numbers, names


def checked_names(name: str, labels: NDArray[np.int64], class_names: Sequence[str] | None) -> list[str]:
    """Return names of classes that are given, an empty list without any; raise a ValueError for fewer than the labels need."""
    count = len(numbered_classes(name, labels))
    if class_names and len(class_names) < count:
        raise ValueError(
            f"{name}: {len(class_names)} class_names for labels from 0 to {count - 1}: expected {count} of them"
        )
    return list(class_names or ())


def _pixels(image: Any) -> NDArray[np.uint8]:
    """Return ``(H, W, C) uint8``, C = 1 for what is stored as grey values of 8 bits."""
    if isinstance(image, Mapping):
        image = image["bytes"] if image.get("bytes") is not None else image["path"]
    if isinstance(image, bytes | str):
        return decode(io.BytesIO(image) if isinstance(image, bytes) else image)
    if isinstance(image, Image.Image):
        return np.ascontiguousarray(rgb_image(image)[..., :1]) if image.mode == "L" else rgb_image(image)
    array = np.asarray(image)
    array = array[..., None] if array.ndim == 2 else array
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (1, 3):
        error = NotRGB8Error if array.dtype in (np.uint8, np.uint16, np.float32) else ValueError
        raise error(
            f"expected a PIL image or (H, W, C) uint8 with C = 1 or 3, got {array.shape} {array.dtype}; make the data set "
            "without transforms, its views are made here"
        )
    return array


def _stored_pixels(image: Any) -> Pixels:
    """Return ``(H, W, C)`` uint8, uint16 or float32."""
    if isinstance(image, Mapping):
        image = image["bytes"] if image.get("bytes") is not None else image["path"]
    if isinstance(image, bytes | str):
        return read_stored(io.BytesIO(image) if isinstance(image, bytes) else image)
    if isinstance(image, Image.Image):
        return stored_image(image, upright)
    if isinstance(image, Tensor):
        raise ValueError(
            f"expected a PIL image or an array (H, W, C), got a tensor {tuple(image.shape)}; of (C, H, W) return "
            "tensor.permute(1, 2, 0).numpy()"
        )
    return stored_array(np.asarray(image))


def _undecoded(name: str, dataset: Any) -> Any:
    """Return a data set that gives the files of its images, where Hugging Face would decode them to 8 bits.

    Raises
    ------
    ValueError
        For torchvision's folders: their loader converts to RGB.
    """
    if getattr(getattr(dataset, "loader", None), "__module__", "") == "torchvision.datasets.folder":
        raise ValueError(
            f"{name}: its loader converts images to 8-bit RGB; with pixels='stored' pass the folder itself, {dataset.root!r}"
        )
    for column, feature in (getattr(dataset, "features", None) or {}).items():
        if type(feature).__name__ == "Image" and feature.decode:
            dataset = dataset.cast_column(column, replace(feature, decode=False))
    return dataset
