"""Where the samples of a WebDataset shard lie in its tar file, and their labels.

Written by hand since ``webdataset`` reads shards from the beginning only (its index, ``wids``, was removed in 1.0).
"""

import contextlib
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_data.sources.adapters.indexed import LABEL_KEYS
from ssl_data.sources.beton.atomic_file import atomic_file
from ssl_data.sources.files.listing import image_extensions

_NAME = re.compile(r"((?:.*/|)[^./]+)[.]([^/]*)")  # WebDataset: the key ends at the first dot of the file's name
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)  # errors of an index
_META = re.compile(r"__[^/]*__($|/)")


@dataclass
class ShardIndex:
    """The samples of one shard.

    Attributes
    ----------
    keys : array
        ``(M,)`` bytes: the names of the samples.
    offsets, sizes : array
        ``(M,) int64``: where the image lies in the file, in bytes.
    labels : array
        ``(M,)`` bytes; empty for no label.
    """

    keys: NDArray[np.bytes_]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    labels: NDArray[np.bytes_]

    @classmethod
    def of(cls, path: Path, image: str, label: str | None) -> "ShardIndex":
        """Return the index of a shard from the file beside it, or list the shard and write that file.

        Raises
        ------
        ValueError
            For a shard that is compressed, damaged or empty, or a sample without image or label.
        """
        kept, status = path.with_name(f"{path.name}.index.npz"), os.stat(path)
        identity = f"{status.st_size} {status.st_mtime_ns} {image} {label}"
        with contextlib.suppress(*_DAMAGED), open(kept, "rb") as opened, np.load(opened, allow_pickle=False) as stored:
            if str(stored["identity"]) == identity:
                return cls(*(stored[name] for name in ("keys", "offsets", "sizes", "labels")))
        found = cls._listed(path, image, label)
        with contextlib.suppress(OSError), atomic_file(kept) as file:  # a folder that cannot be written: listed again
            np.savez(file, identity=np.array(identity), **vars(found))
        return found

    @classmethod
    def _listed(cls, path: Path, image: str, label: str | None) -> "ShardIndex":
        rows = []
        with open(path, "rb") as file:
            for key, parts in _samples(path):
                for wanted in (image, label):
                    if wanted is not None and wanted not in parts:
                        raise ValueError(
                            f"'{path}': the sample '{key}' has no '.{wanted}', it has "
                            f"{', '.join(f'.{each}' for each in parts)}"
                        )
                text = b"" if label is None else os.pread(file.fileno(), parts[label].size, parts[label].offset_data)
                rows.append((key.encode(), parts[image].offset_data, parts[image].size, text.strip()))
        if not rows:
            raise ValueError(f"'{path}': the shard has no sample")
        keys, offsets, sizes, labels = zip(*rows)
        return cls(np.array(keys), np.array(offsets, np.int64), np.array(sizes, np.int64), np.array(labels))

    @staticmethod
    def extensions(path: Path, image: str | None, label: str | None) -> tuple[str, str | None]:
        """Return the extensions of image and label that the first sample of a shard has; a given one is kept."""
        key, parts = next(_samples(path), ("", {}))
        known = {extension.removeprefix(".") for extension in image_extensions()}
        image = image or next((each for each in parts if each in known), None)
        if image is None:
            raise ValueError(
                f"'{path}': the sample '{key}' has no image (.jpg, .png, ...), it has "
                f"{', '.join(f'.{each}' for each in parts) or 'nothing'}; pass image=EXTENSION"
            )
        return image, label or next((each for each in LABEL_KEYS if each in parts), None)


def _samples(path: Path) -> Iterator[tuple[str, dict[str, tarfile.TarInfo]]]:
    """Yield name and members by extension of each sample, as ``webdataset`` groups them."""
    current, parts = "", dict[str, tarfile.TarInfo]()
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined] # else it keeps all of them
                match = _NAME.fullmatch(member.name)
                if not member.isreg() or match is None or _META.match(member.name):
                    continue
                key, extension = match[1], match[2].lower()
                if key != current:
                    if parts:
                        yield current, parts
                    current, parts = key, {}
                parts[extension] = member
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(
            f"'{path}': it is damaged, or no plain tar file ({error}); a compressed one (.tar.gz) can only be streamed"
        ) from error
    if parts:
        yield current, parts
