"""FFCV's files: all samples in one, read through a memory map. Needs ``ssl-data[ffcv]``."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_data.sources.source import Source

_HINT = "ffcv is not installed: apt-get install pkg-config libopencv-dev libturbojpeg0-dev, then pip install 'ssl-data[ffcv]'"


class BetonSource:
    """The images of a ``.beton`` file, raw or JPEG, with their labels.

    FFCV's reader parses the file and FFCV's libjpeg-turbo decodes; no worker of FFCV's is started, and what is returned is
    yours: none of its buffers is handed out.

    Parameters
    ----------
    path : path
        Written by :func:`write_beton`, or by FFCV with one ``RGBImageField`` and at most one ``IntField``.
    memory : int
        Bytes up to which images of one size are decoded once and kept.

    Raises
    ------
    ImportError
        Without ffcv.
    FileNotFoundError, ValueError
        If there is no such file, or it is no ``.beton`` file of this version, or has no image field.
    """

    def __init__(self, path: str | os.PathLike[str], memory: int = 2**30) -> None:
        reader = _reader(Path(path))
        kinds = {name: type(handler).__name__ for name, handler in reader.handlers.items()}
        columns = list(kinds)
        if "RGBImageField" not in kinds.values():
            raise ValueError(f"data.root={str(path)!r}: expected an image field in the file, found {kinds}")
        column = next(place for place, name in enumerate(columns) if kinds[name] == "RGBImageField")
        self.path = Path(path)
        self._fields = reader.metadata[f"f{column}"]
        self._sizes = dict(zip(reader.alloc_table["ptr"].tolist(), reader.alloc_table["size"].tolist()))
        self._bytes = np.memmap(self.path, np.uint8, mode="r")
        labels = [place for place, name in enumerate(columns) if kinds[name] == "IntField"]
        count = len(self._fields)
        self.labels: NDArray[np.int64] = (
            np.ascontiguousarray(reader.metadata[f"f{labels[0]}"]).view("<i8").reshape(count).astype(np.int64)
            if labels
            else np.full(count, -1, np.int64)
        )
        self.ids: NDArray[np.int64] = np.arange(count, dtype=np.int64)
        self.class_names = [str(label) for label in range(int(self.labels.max(initial=-1)) + 1)]
        self.images: NDArray[np.uint8] | None = None
        shapes = {(int(field["height"]), int(field["width"])) for field in self._fields}
        if len(shapes) == 1 and count * int(np.prod(next(iter(shapes)))) * 3 <= memory:
            self.images = np.stack([self._decode(position) for position in range(count)])

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, position: int) -> NDArray[np.uint8]:
        """Return one image, ``(H, W, 3) uint8``."""
        return self.images[position] if self.images is not None else self._decode(position)

    def _decode(self, position: int) -> NDArray[np.uint8]:
        from ffcv.fields.rgb_image import IMAGE_MODES
        from ffcv.libffcv import imdecode

        field = self._fields[position]
        height, width, start = int(field["height"]), int(field["width"]), int(field["data_ptr"])
        stored = self._bytes[start : start + self._sizes[start]]
        if field["mode"] == IMAGE_MODES["raw"]:
            return np.array(stored[: height * width * 3]).reshape(height, width, 3)
        image = np.empty((height, width, 3), np.uint8)
        imdecode(np.ascontiguousarray(stored), image, height, width, height, width, 0, 0, 1, 1, False, False)
        return image


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


def _reader(path: Path) -> Any:
    try:
        from ffcv.reader import Reader
    except ImportError as error:
        raise ImportError(_HINT) from error
    if not path.is_file():
        raise FileNotFoundError(f"data.root={str(path)!r}: there is no such file")
    try:
        return Reader(str(path))
    except (AssertionError, IndexError, ValueError, KeyError) as error:
        raise ValueError(f"data.root={str(path)!r}: it is no .beton file of this version of FFCV: {error}") from error
