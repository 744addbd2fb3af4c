"""Reader of FFCV files through a memory map. FFCV is not needed."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_data.sources.beton.format import RAW, read_tables
from ssl_data.sources.files.decode import check_pixels
from ssl_data.sources.files.jpeg import decode_jpeg
from ssl_data.sources.fingerprint import samples_fingerprint
from ssl_data.sources.lazy import MEMORY, StoredSource
from ssl_data.sources.source import integer_labels, numbered_classes
from ssl_data.sources.unreadable import SKIP_LIMIT


class BetonSource(StoredSource):
    """The images of a ``.beton`` file, raw or JPEG, with their labels.

    JPEG is decoded to the pixels that FFCV's loader gives (see :mod:`ssl_data.sources.files.jpeg`). No worker of FFCV is
    started, and images are not views of its buffers.

    Parameters
    ----------
    path : path
        Written by :func:`write_beton`, or by FFCV with one ``RGBImageField`` and at most one ``IntField``.
    on_error, memory, num_workers, skip_limit
        As for :class:`FolderSource`.
    key : str
        The name of ``path`` in messages; a configuration passes its own, such as ``"data.root"``.
    scaled_decoding : bool
        Decode JPEG at 1/2, 1/4 or 1/8 of its size where no view of the sample is larger than its part of the smaller image.
        Large photographs take less time. Their views differ, since transforming fewer frequencies does not equal averaging
        pixels: on ImageNet by 1.3 to 2.2 grey levels of 255 in the mean, one pixel in a hundred by more than 8 to 11.
        Which samples are decoded this way depends on the crops of all their views only.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is not a ``.beton`` file of this version, is cut off, or has no image field; or for an
        unreadable sample.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        on_error: str = "raise",
        memory: int = MEMORY,
        num_workers: int = 1,
        skip_limit: float = SKIP_LIMIT,
        scaled_decoding: bool = False,
        key: str = "path",
    ) -> None:
        self.scaled_decoding = scaled_decoding
        self.path, self._where = Path(path), f"{key}={str(path)!r}"
        if not self.path.is_file():
            raise FileNotFoundError(f"{self._where}: there is no such file")
        try:
            images, labels, allocations = read_tables(self.path)
        except ValueError as error:
            raise ValueError(f"{self._where}: {error}") from error
        self._heights, self._widths = images["height"].astype(np.int64), images["width"].astype(np.int64)
        self._starts, self._raw = images["start"].astype(np.int64), images["mode"] == RAW
        self._bytes = np.asarray(np.memmap(self.path, np.uint8, mode="r"))
        self._sizes = self._lengths(allocations)
        group = f"{key.partition('.')[0]}." if "." in key else ""
        labels = np.full(len(images), -1, np.int64) if labels is None else integer_labels(self._where, labels)
        super().__init__(self._where, labels, numbered_classes(self._where, labels), on_error, skip_limit, group)
        if memory:
            self.load_into_memory(memory, num_workers)

    def fingerprint(self) -> str:
        """Return number and digest of the samples: of their sizes and offsets in the file, and of some of their bytes."""
        tables = (self._heights, self._widths, self._starts, self._sizes, self._raw)
        return samples_fingerprint(len(self), self._stored, *tables)

    def size(self, position: int) -> tuple[int, int]:
        """Return height and width of an image, which is not decoded for it."""
        return int(self._heights[position]), int(self._widths[position])

    def shrunk(self, position: int, shrink: int) -> NDArray[np.uint8]:
        """Return one image at ``1 / shrink`` of its size (1, 2, 4 or 8; rounded up), or whole if it is stored raw."""
        return self._readable.read(position, lambda at: self._read(at, shrink))

    def load_into_memory(self, memory: int = MEMORY, num_workers: int = 1) -> None:
        """Read everything once into ``images``, if it takes at most ``memory`` bytes and is of one size."""
        if len(np.unique(self._heights)) == len(np.unique(self._widths)) == 1:  # known without reading any
            super().load_into_memory(memory, num_workers)

    def _lengths(self, allocations: NDArray[np.void]) -> NDArray[np.int64]:
        """Return how many bytes each sample takes; all must lie in the file."""
        order = np.argsort(allocations["start"])
        starts, sizes = (allocations[name][order].astype(np.int64) for name in ("start", "size"))
        if not len(starts):
            raise ValueError(
                f"{self._where}: the file is damaged or cut off: its table of allocations is missing; write it again"
            )
        place = np.searchsorted(starts, self._starts).clip(max=len(starts) - 1)
        lost = (starts[place] != self._starts) | (self._starts + sizes[place] > len(self._bytes))
        if lost.any():
            raise ValueError(
                f"{self._where}: the file is damaged or cut off: {lost.sum()} of {len(lost)} samples lie outside of it, the "
                f"first is sample {lost.argmax()}; write it again"
            )
        return sizes[place]

    def _read(self, position: int, shrink: int = 1) -> NDArray[np.uint8]:
        height, width = self.size(position)
        check_pixels(width, height)
        stored = self._stored(position)
        if not self._raw[position]:
            return decode_jpeg(stored, height, width, shrink, fast=True, tolerant=True)
        if len(stored) != height * width * 3:
            raise ValueError(f"expected {width} x {height} pixels, got {len(stored)} bytes")
        return np.array(stored).reshape(height, width, 3)

    def _stored(self, position: int) -> NDArray[np.uint8]:
        start = self._starts[position]
        return self._bytes[start : start + self._sizes[position]]

    def _describe(self, position: int) -> str:
        return f"byte {self._starts[position]} of '{self.path}'"
