"""FFCV's files: all samples in one, read through a memory map. Needs ``ssl-data[ffcv]``."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_data.sources.image_file import check_pixels
from ssl_data.sources.memory import MEMORY, decoded
from ssl_data.sources.source import Source
from ssl_data.sources.substitutes import SKIP_LIMIT, Substitutes
from ssl_data.sources.turbojpeg import decode_jpeg

_HINT = "ffcv is not installed: apt-get install pkg-config libopencv-dev libturbojpeg0-dev, then pip install 'ssl-data[ffcv]'"
_RAW = 1  # FFCV's number for images that are stored as pixels; 0: as JPEG


class BetonSource:
    """The images of a ``.beton`` file, raw or JPEG, with their labels.

    FFCV's reader parses the file and the libjpeg-turbo that FFCV was built with decodes; no worker of FFCV's is started,
    and what is returned is yours: none of its buffers is handed out.

    Parameters
    ----------
    path : path
        Written by :func:`write_beton`, or by FFCV with one ``RGBImageField`` and at most one ``IntField``.
    on_error, memory, num_workers, skip_limit
        As for :class:`FolderSource`.

    Raises
    ------
    ImportError
        Without ffcv.
    FileNotFoundError, ValueError
        If there is no such file, or it is no ``.beton`` file of this version, is cut off, or has no image field; or for an
        unreadable sample.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        on_error: str = "raise",
        memory: int = MEMORY,
        num_workers: int = 1,
        skip_limit: float = SKIP_LIMIT,
    ) -> None:
        self.path = Path(path)
        self._where = f"data.root={str(path)!r}"
        reader = _reader(self.path, self._where)
        columns = [type(handler).__name__ for handler in reader.handlers.values()]
        if "RGBImageField" not in columns:
            fields = ", ".join(f"{name} ({column})" for name, column in zip(reader.handlers, columns))
            raise ValueError(f"{self._where}: expected an image field in the file, found {fields}")
        stored = reader.metadata[f"f{columns.index('RGBImageField')}"]
        self._heights, self._widths = stored["height"].astype(np.int64), stored["width"].astype(np.int64)
        self._starts, self._raw = stored["data_ptr"].astype(np.int64), stored["mode"] == _RAW
        self._bytes = np.asarray(
            np.memmap(self.path, np.uint8, mode="r")
        )  # the pages come and go with the system's cache
        self._sizes = self._lengths(reader.alloc_table)
        self.labels = (
            np.ascontiguousarray(reader.metadata[f"f{columns.index('IntField')}"]).view("<i8").ravel().astype(np.int64)
            if "IntField" in columns
            else np.full(len(stored), -1, np.int64)
        )
        self.ids: NDArray[np.int64] = np.arange(len(stored), dtype=np.int64)
        self.class_names = [str(label) for label in range(int(self.labels.max(initial=-1)) + 1)]
        self.images: NDArray[np.uint8] | None = None
        self._readable = Substitutes(self._where, self.labels, self._describe, on_error, skip_limit)
        if memory:
            self.keep(memory, num_workers)

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, position: int) -> NDArray[np.uint8]:
        """Return one image, ``(H, W, 3) uint8``."""
        return self.images[position] if self.images is not None else self._readable.read(position, self._decode)

    @property
    def skipped(self) -> set[int]:
        """The positions of the unreadable samples that were met so far, and replaced."""
        return self._readable.skipped

    def keep(self, memory: int = MEMORY, num_workers: int = 1) -> None:
        """Decode everything once into ``images``, if it takes at most ``memory`` bytes and is of one size."""
        one_size = self._heights.min() == self._heights.max() and self._widths.min() == self._widths.max()
        if self.images is None and one_size:
            self.images = decoded(self, memory, num_workers)

    def _lengths(self, table: NDArray[np.void]) -> NDArray[np.int64]:
        """Return how many bytes each sample takes, from FFCV's table of what it allocated; all must lie in the file."""
        order = np.argsort(table["ptr"])
        starts, sizes = table["ptr"][order].astype(np.int64), table["size"][order].astype(np.int64)
        place = np.searchsorted(starts, self._starts).clip(max=max(0, len(starts) - 1))
        lost = np.flatnonzero(starts[place] != self._starts) if len(starts) else np.arange(len(self._starts))
        lengths = sizes[place] if len(starts) else np.zeros(len(self._starts), np.int64)
        lost = np.union1d(lost, np.flatnonzero(self._starts + lengths > len(self._bytes)))
        if len(lost):
            raise ValueError(
                f"{self._where}: the file is damaged or cut off: {len(lost)} of {len(self._starts)} samples lie outside of "
                f"it, the first is sample {lost[0]}; write it again"
            )
        return lengths

    def _decode(self, position: int) -> NDArray[np.uint8]:
        height, width = int(self._heights[position]), int(self._widths[position])
        check_pixels(width, height)
        start = self._starts[position]
        stored = self._bytes[start : start + self._sizes[position]]
        if not self._raw[position]:
            return decode_jpeg(stored, height, width)
        if len(stored) != height * width * 3:
            raise ValueError(f"{len(stored)} bytes are no {width} x {height} pixels")
        return np.array(stored).reshape(height, width, 3)

    def _describe(self, position: int) -> str:
        return f"byte {self._starts[position]} of '{self.path}'"


def write_beton(
    source: Source, path: str | os.PathLike[str], mode: str = "raw", quality: int = 95, num_workers: int = 1
) -> None:
    """Write a source as a ``.beton`` file; the name is taken only when the file is whole.

    Parameters
    ----------
    source : Source
        Images of three channels.
    path : path
        Where; an existing file is replaced.
    mode : {"raw", "jpg"}
        How the images are stored.
    quality : int
        Of the JPEG compression, 1 to 100.
    num_workers : int
        Processes that write.

    Raises
    ------
    ImportError
        Without ffcv.
    ValueError
        For another mode, or images of one channel.
    """
    if mode not in ("raw", "jpg"):
        raise ValueError(f"mode={mode!r}: expected 'raw' or 'jpg'")
    if source.image(0).shape[2] != 3:
        raise ValueError(f"FFCV stores images of three channels, got {source.image(0).shape[2]}; repeat the channel")
    try:
        from ffcv.fields import IntField, RGBImageField
        from ffcv.writer import DatasetWriter
    except ImportError as error:
        raise ImportError(_HINT) from error
    temporary = Path(path).with_name(f".{Path(path).name}.tmp")
    fields = {"image": RGBImageField(write_mode=mode, jpeg_quality=quality), "label": IntField()}
    try:
        writer = DatasetWriter(str(temporary), fields, num_workers=num_workers)
        writer.from_indexed_dataset(_Pairs(source))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


class _Pairs:
    """A source as the indexed data set that FFCV's writer reads."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, position: int) -> tuple[NDArray[np.uint8], int]:
        return np.ascontiguousarray(self._source.image(position)), int(self._source.labels[position])


def _reader(path: Path, where: str) -> Any:
    """Return FFCV's reader of a file, of which all is there that its header promises."""
    try:
        from ffcv.reader import Reader
    except ImportError as error:
        raise ImportError(_HINT) from error
    if not path.is_file():
        raise FileNotFoundError(f"{where}: there is no such file")
    try:
        reader = Reader(str(path))
    except (AssertionError, IndexError, ValueError, KeyError, OverflowError, MemoryError) as error:
        raise ValueError(f"{where}: it is no .beton file of this version of FFCV: {error}; write it again") from error
    if not len(reader.metadata) or len(reader.metadata) != reader.num_samples:
        raise ValueError(
            f"{where}: the file is damaged or cut off: of {reader.num_samples} samples it describes {len(reader.metadata)}; "
            "write it again"
        )
    return reader
