"""Data sets that are given as Python objects."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_data.loading.streams import is_stream
from ssl_data.sources import (
    ArraySource,
    BetonSource,
    FolderSource,
    IndexedSource,
    SampleSource,
    ShardSource,
    Source,
    Subset,
    TorchvisionSource,
)
from ssl_data.sources.adapters.indexed import Key, checked_names
from ssl_data.sources.array import is_plausible
from ssl_data.sources.shards.shards import is_shards

TEST = "test"  # name of the evaluation, if there is one


@dataclass
class GivenData:
    """The arguments of :meth:`ssl_data.DataConfig.of` that are data sets."""

    train: Any
    test: Any = None  # one, or name -> data set
    reference: Any = None
    image: Key | list[str] | None = None
    label: Key | None = None
    class_names: list[str] | None = None
    epoch_samples: int | None = None  # of a stream

    @property
    def is_ffcv(self) -> bool:
        """Whether the training data are an FFCV ``Loader``."""
        return _is_ffcv(self.train)

    def sources(self, functions: bool, **reading: Any) -> tuple[Source, dict[str, Source], Source | None]:
        """Return the training samples, those of each evaluation by name, and labelled training samples if they are others.

        Parameters
        ----------
        functions : bool
            Whether views are made by functions. Else the samples have to be images.
        reading
            ``on_error``, ``skip_limit``, ``memory``, ``pixels``, ``scaled_decoding``, of sources that read files;
            ``value_range``.

        Raises
        ------
        ValueError, FileNotFoundError
            The message begins with ``data.train`` or the like.
        """
        train = self._source(self.train, "train", functions, reading)
        return train, *self.evaluation_sources(train, functions, **reading)

    @property
    def has_stream(self) -> bool:
        """Whether the training data can only be read from the beginning."""
        return is_stream(self.train)

    def evaluation_sources(
        self, train: Source | None, functions: bool, **reading: Any
    ) -> tuple[dict[str, Source], Source | None]:
        """Return what :meth:`sources` does, without the training samples; these are ``train``, None for a stream."""
        tests = self.test if isinstance(self.test, Mapping) else {} if self.test is None else {TEST: self.test}
        evaluation = {name: self._source(each, name, functions, reading) for name, each in tests.items()}
        reference = None if self.reference is None else self._source(self.reference, "reference", functions, reading)
        labelled = reference or train
        for name, source in evaluation.items():
            if labelled is None:
                raise ValueError(
                    "data.reference=None: the training data is a stream, and the evaluation compares with labelled training "
                    "samples that are read by position; expected reference=..., such as the path of some shards"
                )
            _check_classes(name, labelled.class_names, source.class_names)
        return evaluation, reference

    def _source(self, data: Any, part: str, functions: bool, reading: dict[str, Any]) -> Source:
        rows = data[0] if _is_pair(data) else data
        try:
            return self._opened(data, part, f"data.{part}={type(rows).__name__}", functions, reading)
        except ValueError as error:
            if str(error).startswith("data."):
                raise
            raise ValueError(f"data.{part}: {error}") from error

    def _opened(self, data: Any, part: str, name: str, functions: bool, reading: dict[str, Any]) -> Source:
        files = {key: value for key, value in reading.items() if key != "scaled_decoding"}
        if isinstance(data, str | os.PathLike):
            rgb8 = {key: value for key, value in reading.items() if key not in ("pixels", "value_range")} | {
                "memory": 0
            }
            if Path(data).suffix == ".beton":
                return self._with_names(BetonSource(data, key=f"data.{part}", **rgb8))
            if is_shards(data):
                rgb8.pop("scaled_decoding", None)
                extensions: dict[str, Any] = {"image": self.image, "label": self.label, "class_names": self.class_names}
                return ShardSource(data, key=f"data.{part}", **extensions, **rgb8)
            return self._with_names(FolderSource(data, key=f"data.{part}", **{**files, "memory": 0}))
        if _is_ffcv(data):
            if part != "train":
                raise ValueError(
                    f"an FFCV Loader, which makes views for training; expected the path of its file, {data.fname!r}"
                )
            rgb8 = {key: value for key, value in reading.items() if key not in ("pixels", "value_range", "memory")}
            whole = self._with_names(BetonSource(data.fname, memory=0, key="data.train", **rgb8))
            indices = np.asarray(data.indices, np.int64)
            return whole if np.array_equal(indices, whole.ids) else Subset(whole, indices)
        if all(hasattr(data, each) for each in ("images", "labels", "ids", "class_names")):
            return data
        rows, labels = data if _is_pair(data) else (data, None)
        images = isinstance(rows, np.ndarray) and rows.dtype == np.uint8 and rows.shape[3:] in ((), (1,), (3,))
        if isinstance(rows, np.ndarray | Tensor) and (not functions or (images and rows.ndim in (3, 4))):
            return ArraySource(_channels_last(rows), labels, self.class_names, reading.get("value_range"))
        # With an FFCV Loader they are names of its pipelines
        keys: dict[str, Any] = {} if self.is_ffcv else {"image": self.image, "label": self.label}
        if functions:
            if files.get("on_error") == "skip":
                raise ValueError("data.on_error='skip': expected 'raise': samples of Python objects are not replaced")
            return SampleSource(rows, labels, class_names=self.class_names, name=name, **keys)
        is_torchvision = type(data).__module__.startswith("torchvision.")
        kind = TorchvisionSource if is_torchvision else IndexedSource
        return kind(data, class_names=self.class_names, **keys, **files)

    def _with_names(self, source: Source) -> Source:
        """Return a source of files with ``class_names``, where its files do not name the classes.

        Raises
        ------
        ValueError
            For too few names, or the names of the class folders in another order: their labels are in sorted order.
        """
        if isinstance(source, BetonSource):
            source.class_names = checked_names("its labels", source.labels, self.class_names) or source.class_names
        elif sorted(self.class_names or ()) == source.class_names != (self.class_names or []):
            raise ValueError(
                f"class_names={self.class_names!r}: expected the class folders in sorted order, {source.class_names!r}"
            )
        return source


def _is_ffcv(data: Any) -> bool:
    return type(data).__module__.startswith("ffcv.loader")


def _is_pair(data: Any) -> bool:
    """Return whether data is ``(samples, labels)``: two arrays of one length, the second of one dimension."""
    if not isinstance(data, tuple) or len(data) != 2 or not all(hasattr(each, "__len__") for each in data):
        return False
    return isinstance(data[0], np.ndarray | Tensor) and np.ndim(data[1]) == 1


def _channels_last(rows: np.ndarray | Tensor) -> np.ndarray:
    """Return images as ``(M, H, W, C)`` or ``(M, H, W)``: an array has that layout, a tensor is ``(M, C, H, W)``.

    A tensor of which the last axis has a length of 1 or 3, and the second has not, is ``(M, H, W, C)``.
    """
    shape = tuple(rows.shape)
    if len(shape) not in (3, 4):
        raise ValueError(
            f"expected images, an array (M, H, W, C) or a tensor (M, C, H, W), got {rows.dtype} {shape}; for other samples "
            "give a function for each view, which gets a row and returns a tensor: views=[function, function]"
        )
    if isinstance(rows, np.ndarray):
        return rows
    rows = rows.detach().cpu()
    array = (rows.float() if rows.dtype in (torch.bfloat16, torch.float16) else rows).numpy()
    if len(shape) == 3 or (shape[3] in (1, 3) and shape[1] not in (1, 3)):
        return array
    if not is_plausible(shape[2], shape[3], shape[1]):
        raise ValueError(
            f"expected a tensor (M, C, H, W), got {shape}: {shape[1]} bands of {shape[2]} x {shape[3]} pixels; for "
            "(M, H, W, C) use images.permute(0, 3, 1, 2)"
        )
    return array.transpose(0, 2, 3, 1)


def _check_classes(name: str, train: list[str], test: list[str]) -> None:
    """Raise a ValueError for a test set with classes that the training data does not have."""
    numbers = [str(number) for number in range(len(train))]
    is_unnamed = train == numbers and not {*test} <= {*train}  # folders named 0, 2, ... are no names for 0, 1, ...
    if len(test) > len(train) or (not is_unnamed and test not in ([], train, numbers[: len(test)])):
        unknown, lacking = ([each for each in a if each not in b] for a, b in ((test, train), (train, test)))
        which, names = ("only it has", unknown or test) if unknown or not lacking else ("it has no", lacking)
        raise ValueError(
            f"data.{name}: its classes are not those of the training data ({len(test)} and {len(train)}); {which} "
            f"{', '.join(map(repr, names[:5]))}"
        )
