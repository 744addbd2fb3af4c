"""Samples of any kind and shape, for views that are made by functions."""

import hashlib
import logging
import pickle
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Subset as TorchSubset
from torch.utils.data import TensorDataset

from ssl_data.augment.functions import described
from ssl_data.augment.seeding import preserved_generators, seed_generators
from ssl_data.sources.adapters.indexed import Key, checked_names, not_by_position, numbered_labels, sample_keys
from ssl_data.sources.fingerprint import samples_fingerprint
from ssl_data.sources.source import Source, numbered_classes, value_range

_LABELS = ("targets", "labels", "_labels")  # where the data sets of torchvision have them
_MANY = 10_000  # samples that are read one by one without a message

_message = logging.getLogger(__name__)


@runtime_checkable
class GivesSamples(Protocol):
    """A source of samples that need not be 8-bit images."""

    def sample(self, position: int) -> Any:
        """Return one sample without its label."""


class SampleSource:
    """The samples of a map-style data set, or the rows of an array, of any kind and shape.

    Parameters
    ----------
    dataset : object
        With ``__len__`` and ``__getitem__``: a data set of torch, torchvision or Hugging Face, a list, or an array or tensor
        ``(M, ...)``, whose rows are given as tensors. ``dataset[i]`` is a mapping, a tuple ``(sample, label)``, or a sample.
    labels : array, optional
        ``(M,)``: integers or names, -1 or None for no label. Default: those of the data set.
    image, label : str or int, optional
        Where an item keeps sample and label. Default: places 0 and 1 of a tuple; of a mapping the keys that
        :class:`ssl_data.IndexedSource` looks for. A mapping without such a key is the sample.
    class_names : sequence of str, optional
        Names of the labels 0, 1, ...; of labels that are names, their order. Default: those of the data set, else numbers.
    name : str, optional
        Name of the data set, for errors.

    Raises
    ------
    ValueError
        For a data set without a length, or labels that are not one integer or name for each sample.

    Notes
    -----
    Labels are taken from a column of Hugging Face's, or from the attribute ``targets`` or ``labels``; of another data set
    every item is read once for its label.

    Examples
    --------
    >>> import torch
    >>> from ssl_data import SampleSource
    >>> source = SampleSource(torch.zeros(6, 1, 40, 100), labels=[0, 1, 2, 0, 1, 2])
    >>> source.class_names, tuple(source.sample(0).shape)
    (['0', '1', '2'], (1, 40, 100))
    """

    images: NDArray[np.uint8] | None = None

    def __init__(
        self,
        dataset: Any,
        labels: Any = None,
        image: Key | None = None,
        label: Key | None = None,
        class_names: Sequence[str] | None = None,
        name: str = "",
    ) -> None:
        self.name = name or f"data set {type(dataset).__name__}"
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__") or len(dataset) == 0:
            raise ValueError(f"{self.name}: {not_by_position(dataset)}")
        self._dataset = dataset
        self._sample_key: Key | None = None
        self._label_key: Key | None = None
        if not isinstance(dataset, np.ndarray | Tensor):  # a row is a sample
            self._sample_key, self._label_key = sample_keys(self.name, self._item(0), image, label)
        given = self._labels() if labels is None else labels
        self.labels, names = numbered_labels(self.name, given, class_names)
        if len(self.labels) != len(dataset):
            raise ValueError(
                f"{self.name}: {len(self.labels):,} labels for {len(dataset):,} samples: expected one each"
            )
        numbers, own = numbered_classes(self.name, self.labels), checked_names(self.name, self.labels, class_names)
        self.class_names = own or names or self._class_names(len(numbers)) or numbers
        self.ids: NDArray[np.int64] = np.arange(len(dataset), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def sample(self, position: int) -> Any:
        """Return one sample without its label."""
        item = self._dataset[position]
        if isinstance(self._dataset, np.ndarray):
            return torch.tensor(item)  # a copy; a row of a file that is only read could not be a tensor
        return item if self._sample_key is None else item[self._sample_key]

    def image(self, position: int) -> NDArray[np.uint8]:
        """Raise a ValueError: these samples need views that are made by functions."""
        raise ValueError(
            f"{self.name}: its samples are not 8-bit images (sample {position} is {described(self.sample(position))}): give "
            "a function for each view, e.g. views=[function, function]"
        )

    def fingerprint(self) -> str:
        """Return what the data set's own ``fingerprint()`` does, else number and digest of some samples.

        Samples that differ from one call to the next, by a generator of the data set's own, are left out with a warning.
        """
        own = getattr(self._dataset, "fingerprint", None)
        if callable(own):
            return str(own())
        first, second = (samples_fingerprint(len(self), self._digest) for _ in range(2))
        if first == second:
            return first
        _message.warning(
            "%s: a sample differs from one call to the next, by a random generator of its own: a run cannot be repeated "
            "exactly; draw in a view instead: function(sample, generator)",
            self.name,
        )
        return f"{len(self):,} samples"

    def _digest(self, position: int) -> NDArray[np.uint8]:
        with preserved_generators():
            seed_generators(position)
            digest = hashlib.sha256(content_bytes(self.sample(position))).digest()
        return np.frombuffer(digest, np.uint8)

    def _item(self, position: int) -> Any:
        try:
            with preserved_generators():
                return self._dataset[position]
        except Exception as error:
            raise ValueError(f"{self.name}: dataset[{position}] raised {type(error).__name__}: {error}") from error

    def _labels(self) -> Any:
        if self._label_key is None:
            return [None] * len(self._dataset)
        stored = stored_labels(self._dataset, self._label_key)
        if stored is not None and len(stored) == len(self._dataset) and self._agrees(stored):
            return stored
        if len(self._dataset) > _MANY:
            _message.warning(
                "%s: reading %d samples for their labels; labels= is faster", self.name, len(self._dataset)
            )
        return [_plain(self._item(position)[self._label_key]) for position in range(len(self._dataset))]

    def _agrees(self, stored: Any) -> bool:
        """Return whether the labels that a data set stores are those that it gives: it may change them."""
        positions = sorted({0, len(self._dataset) // 2, len(self._dataset) - 1})
        return all(_plain(stored[each]) == _plain(self._item(each)[self._label_key]) for each in positions)

    def _class_names(self, count: int) -> list[str]:
        """Return the names of the classes as torchvision or Hugging Face keeps them, if there are enough."""
        feature = (getattr(self._dataset, "features", None) or {}).get(self._label_key)
        names = getattr(feature, "names", None) or getattr(self._dataset, "classes", None) or ()
        return [str(name) for name in names] if len(names) >= count else []


def stored_labels(dataset: Any, key: Key) -> Any | None:
    """Return the labels of a data set where they can be had without its samples, else None."""
    if isinstance(dataset, TensorDataset):
        return dataset.tensors[key].tolist() if isinstance(key, int) else None
    if isinstance(dataset, TorchSubset):
        whole = stored_labels(dataset.dataset, key)
        return None if whole is None else [whole[index] for index in dataset.indices]
    if key in (getattr(dataset, "column_names", None) or ()):
        return list(dataset[key])
    if getattr(dataset, "target_transform", None) is not None:
        return None
    found = next((getattr(dataset, name) for name in _LABELS if hasattr(dataset, name)), None)
    if isinstance(found, np.ndarray | Tensor):
        return found.tolist()
    return found if isinstance(found, list | tuple) else None


def read_sample(source: Source, position: int) -> Any:
    """Return what a function makes a view of: a sample, or the image of a source of images as a PIL image.

    Images that PIL has no mode for (other types than uint8, other bands than RGB and grey) are tensors ``(C, H, W) float32`` in
    [0, 1], mapped by the ``value_range`` of the source.
    """
    give = getattr(source, "sample", None)  # not isinstance with GivesSamples, which takes 8 us for each sample
    if give is not None:
        return give(position)
    image = source.image(position)
    if image.dtype != np.uint8 or image.shape[2] not in (1, 3):
        low, high = value_range(source)
        return (torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1) - low) / (high - low)
    return Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)


def name_of(source: Any) -> str:
    """Return the name of a source for messages."""
    return getattr(source, "name", "") or "data set"


def _plain(label: Any) -> Any:
    """Return a label of one element as a Python number."""
    return label.item() if hasattr(label, "item") and np.size(label) == 1 else label


def content_bytes(sample: Any) -> bytes:
    """Return bytes that identify a sample."""
    if isinstance(sample, Tensor):
        sample = sample.detach().cpu().float().numpy() if sample.dtype == torch.bfloat16 else sample.cpu().numpy()
    if isinstance(sample, Image.Image):
        sample = np.asarray(sample)
    if isinstance(sample, np.ndarray):
        return f"{sample.dtype} {sample.shape}".encode() + np.ascontiguousarray(sample).tobytes()
    if isinstance(sample, Mapping):
        return b"".join(str(key).encode() + content_bytes(value) for key, value in sample.items())
    if isinstance(sample, list | tuple):
        return b"".join(map(content_bytes, sample))
    try:
        return pickle.dumps(sample)
    except Exception:  # of many types
        return type(sample).__qualname__.encode()
