"""Images in WebDataset shards, by position: tar files whose members of one name are one sample."""

import glob
import io
import logging
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_data.errors import ArgumentError
from ssl_data.loading.threads import bounded_threads
from ssl_data.sources.adapters.indexed import checked_names, numbered_labels
from ssl_data.sources.files.decode import decode, jpeg
from ssl_data.sources.fingerprint import files_fingerprint
from ssl_data.sources.lazy import MEMORY, StoredSource
from ssl_data.sources.shards.shard_index import ShardIndex
from ssl_data.sources.source import numbered_classes
from ssl_data.sources.unreadable import SKIP_LIMIT

_message = logging.getLogger(__name__)


class ShardSource(StoredSource):
    """The images of WebDataset shards on a disk, ``(H, W, 3) uint8``, read by position in any order.

    A sample is what consecutive members of one name have, such as ``n01440764/10026.jpg`` and ``n01440764/10026.cls``. Each
    shard is listed once: offsets and labels are kept in ``<shard>.index.npz`` beside it, where the folder can be written.

    Parameters
    ----------
    shards : path or list of paths
        ``"train-{000000..000146}.tar"`` (needs ``ssl-data[webdataset]``), ``"train-*.tar"`` (sorted), or the files.
    image : str, optional
        Extension of the image. Default: the first of a sample that Pillow decodes.
    label : str, optional
        Extension of the label, a number or a name. Default: ``cls``, or none if a sample has none.
    class_names : sequence of str, optional
        Names of the labels 0, 1, ...; of labels that are names, their order. Default: the sorted names, or the numbers.
    on_error, memory, num_workers, skip_limit, key
        As for :class:`ssl_data.FolderSource`.

    Raises
    ------
    FileNotFoundError
        If a shard is missing.
    ValueError
        For a shard that is compressed, damaged or empty, a sample without image or label, or an unreadable image.
    """

    def __init__(
        self,
        shards: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        image: str | None = None,
        label: str | None = None,
        class_names: Sequence[str] | None = None,
        on_error: str = "raise",
        memory: int = MEMORY,
        num_workers: int = 1,
        skip_limit: float = SKIP_LIMIT,
        key: str = "shards",
    ) -> None:
        one = isinstance(shards, str | os.PathLike)
        where = f"{key}={str(shards)!r}" if one else f"{key}: {len(shards)} shards"  # type: ignore[arg-type]
        self.paths = _expanded(os.fspath(shards), key) if one else [Path(each) for each in shards]  # type: ignore
        missing = [path for path in self.paths if not path.is_file()]
        if missing or not self.paths:
            found = (
                f"'{missing[0]}' is missing ({len(missing)} of {len(self.paths)})" if missing else "there is no shard"
            )
            raise FileNotFoundError(f"{where}: {found}")
        first = ShardIndex.extensions(self.paths[0], image, label)
        with ThreadPoolExecutor(bounded_threads(num_workers)) as pool:
            indices = list(pool.map(lambda path: ShardIndex.of(path, *first), self.paths))
        self._keys = np.concatenate([index.keys for index in indices])
        self._offsets = np.concatenate([index.offsets for index in indices])
        self._sizes = np.concatenate([index.sizes for index in indices])
        self._shards = np.repeat(np.arange(len(indices)), [len(index.keys) for index in indices]).astype(np.int32)
        labels, names = numbered_labels(where, _labels(indices), class_names)
        names = checked_names(where, labels, class_names) or names or numbered_classes(where, labels)
        super().__init__(where, labels, names, on_error, skip_limit, f"{key.partition('.')[0]}." if "." in key else "")
        if memory:
            self.load_into_memory(memory, num_workers)

    def fingerprint(self) -> str:
        """Return number, bytes and digest of the shards; their folder may be moved or copied."""
        return files_fingerprint(self.paths, os.path.commonpath([path.parent for path in self.paths]))

    def jpeg(self, position: int) -> tuple[NDArray[np.uint8], int, int] | None:
        """Return the bytes of a JPEG file with its height and width, or None if it is not an upright JPEG in colour."""
        return self._readable.read(position, lambda at: jpeg(self._bytes(at)))

    def _read(self, position: int) -> NDArray[np.uint8]:
        return decode(io.BytesIO(self._bytes(position)))

    def _bytes(self, position: int) -> bytes:
        with open(self.paths[self._shards[position]], "rb", buffering=0) as file:
            return os.pread(file.fileno(), int(self._sizes[position]), int(self._offsets[position]))

    def _describe(self, position: int) -> str:
        return f"'{self._keys[position].decode()}' in '{self.paths[self._shards[position]]}'"


def is_shards(data: object) -> bool:
    """Return whether a value names tar files."""
    return isinstance(data, str | os.PathLike) and os.fspath(data).endswith(".tar")


def _labels(indices: list[ShardIndex]) -> list[int | str | None]:
    """Return the labels of all samples: numbers, names, or None."""
    texts = [text for index in indices for text in index.labels.tolist()]
    if all(re.fullmatch(rb"-?\d+", text) for text in texts if text):  # an empty one is no label
        return [int(text) if text else None for text in texts]
    return [text.decode() if text else None for text in texts]


def _expanded(pattern: str, key: str) -> list[Path]:
    if "{" not in pattern:
        return [Path(path) for path in sorted(glob.glob(pattern))] if re.search(r"[*?[]", pattern) else [Path(pattern)]
    try:
        from webdataset.shardlists import expand_urls
    except ModuleNotFoundError as error:
        raise ArgumentError(
            key, pattern, "'{' needs pip install 'ssl-data[webdataset]'; or use '*', or a list of paths"
        ) from error
    return [Path(path) for path in expand_urls(pattern)]
