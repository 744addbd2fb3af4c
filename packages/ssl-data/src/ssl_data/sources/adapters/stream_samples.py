"""Samples that were read from a stream, as a source."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssl_data.sources.adapters.indexed import IndexedSource, Key, sample_keys
from ssl_data.sources.files.decode import UNREADABLE
from ssl_data.sources.files.listing import image_extensions


class SampleForm:
    """Where the samples of a stream keep image and label.

    Parameters
    ----------
    name : str
        Name of the stream, for errors.
    first : object
        Its first sample: a mapping, a tuple ``(image, label)``, or an image.
    image, label : str or int, optional
        Where a sample keeps them. Default: as of :class:`ssl_data.IndexedSource`; of WebDataset the extension of an image.
    class_names : sequence of str, optional
        Names of the labels 0, 1, ...: those of the whole stream are not known before its end. Default: no labels.

    Raises
    ------
    ValueError
        For a sample without an image.
    """

    def __init__(
        self,
        name: str,
        first: Any,
        image: Key | None = None,
        label: Key | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        self.name, self.class_names = name, list(class_names or ())
        if isinstance(first, Mapping) and image is None:
            known = {extension.removeprefix(".") for extension in image_extensions()}
            image = next((key for key in first if key in known), None)
        self.image, self.label = sample_keys(name, first, image, label)
        self.unused_label = None if self.class_names else self.label  # without names the number of classes is not known
        self.label = self.label if self.class_names else None
        self._numbers = {each: number for number, each in enumerate(self.class_names)}

    def content(self, sample: Any, index: int) -> Any:
        """Return the part of a sample that views are made of: the whole mapping if no key is known to be the image."""
        return sample if self.image is None else self._part(sample, index, self.image)

    def label_of(self, sample: Any, index: int) -> int:
        """Return the label of a sample, -1 for none.

        Raises
        ------
        ValueError
            For a label that is not one of the classes.
        """
        label = None if self.label is None else self._part(sample, index, self.label)
        if label is None:
            return -1
        label = label.decode().strip() if isinstance(label, bytes) else label
        if isinstance(label, str) and label in self._numbers:
            return self._numbers[label]
        found = int(label) if isinstance(label, str) and label.removeprefix("-").isdigit() else label
        if isinstance(found, str) or int(found) != found or not -1 <= found < len(self.class_names):
            raise ValueError(
                f"{self.name}: {self.described(sample, index)} has the label {label!r}: expected one of the "
                f"{len(self.class_names)} class_names, or a number below that; pass class_names=[...] of all classes"
            )
        return int(found)

    def described(self, sample: Any, index: int) -> str:
        """Return how messages call a sample: its number, and its key and shard in WebDataset."""
        where = ""
        if isinstance(sample, Mapping) and "__key__" in sample:
            where = f" ('{sample['__key__']}' in '{sample.get('__url__', '')}')"
        return f"sample {index}{where}"

    def _part(self, sample: Any, index: int, key: Key) -> Any:
        try:
            return sample[key]
        except (KeyError, IndexError, TypeError) as error:
            parts = ", ".join(map(repr, sample)) if isinstance(sample, Mapping) else type(sample).__name__
            raise ValueError(
                f"{self.name}: {self.described(sample, index)} has no {key!r}, it has {parts}; leave such samples out, e.g. by "
                "the filter of the library that reads the stream"
            ) from error


class StreamSamples:
    """Some samples of a stream.

    Parameters
    ----------
    form : SampleForm
        Where they keep image and label.
    samples : list
        As they were read; compressed images are decoded when they are asked for, by several threads.
    ids : array
        ``(n,) int64``: their positions in the stream.
    channels : int
        Number of channels of the images; 0: as stored.
    """

    images: NDArray[np.uint8] | None = None

    def __init__(self, form: SampleForm, samples: list[Any], ids: NDArray[np.int64], channels: int = 0) -> None:
        self._form, self._samples, self._channels = form, samples, channels
        self.ids, self.class_names, self.name = ids, form.class_names, form.name
        self.labels = np.array([form.label_of(*each) for each in zip(samples, ids.tolist())], np.int64)

    def __len__(self) -> int:
        return len(self._samples)

    def image(self, position: int) -> NDArray[np.uint8]:
        """Return one image, ``(H, W, C) uint8``.

        Raises
        ------
        ValueError
            For an image that cannot be read, with its position in the stream.
        """
        sample, index = self._samples[position], int(self.ids[position])
        content = self._form.content(sample, index)
        if self._form.image is None and isinstance(content, Mapping):
            raise ValueError(f"{self.name}: which is the image of {', '.join(map(repr, content))}? pass image=KEY")
        try:
            return IndexedSource([(content,)], channels=self._channels or None, memory=0).image(0)
        except UNREADABLE as error:
            reason = error.__cause__ or error
            raise ValueError(f"{self.name}: {self._form.described(sample, index)} cannot be read: {reason}") from error

    def sample(self, position: int) -> Any:
        """Return the argument of a view function: a PIL image for a compressed image, otherwise the sample unchanged."""
        content = self._form.content(self._samples[position], int(self.ids[position]))
        compressed = isinstance(content, bytes) or (isinstance(content, Mapping) and set(content) == {"bytes", "path"})
        if not compressed:
            return content
        image = self.image(position)
        return Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
