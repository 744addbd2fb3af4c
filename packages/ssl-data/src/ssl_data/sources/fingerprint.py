"""Fingerprints of stored samples, compared when a run is resumed.

They depend on the data only, not on its path or date: a copy has the same fingerprint.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_data.sources.source import FingerprintedSource, Source

MAX_BYTES = 2**30  # of an array that are hashed; of a larger one every second, third, ... image
SAMPLED = 64  # samples, spread evenly, whose contents are hashed where they are not in memory
_SAMPLED_BYTES = 2**20  # of each of their files


def fingerprint(source: Source) -> dict[str, Any]:
    """Return what identifies the samples of a source.

    Returns
    -------
    dict
        ``num_samples``; ``class_names``; ``labels``, a digest of labels and ids; ``images``, what the source's own
        ``fingerprint()`` returns, else a digest of ``images`` where they are in memory, else empty.
    """
    return {
        "num_samples": len(source),
        "class_names": [str(name) for name in source.class_names],
        "labels": _shown(hashlib.sha256(_bytes(source.labels) + _bytes(source.ids))),
        "images": images_fingerprint(source),
    }


def images_fingerprint(source: Source) -> str:
    """Return the fingerprint of the images of a source, or an empty string where nothing is known of them."""
    if isinstance(source, FingerprintedSource):
        return str(source.fingerprint())
    return "" if source.images is None else array_fingerprint(source.images)


def array_fingerprint(array: NDArray[Any]) -> str:
    """Return shape and digest of an array; of more than ``MAX_BYTES`` a part is hashed, spread evenly."""
    digest = hashlib.sha256(f"{array.dtype} {array.shape}".encode())
    rows = array[:: max(1, -(-array.nbytes // MAX_BYTES))]
    for first in range(0, len(rows), 1024):
        digest.update(_bytes(rows[first : first + 1024]))
    return f"{' x '.join(map(str, array.shape))}, {_shown(digest)}"


def files_fingerprint(paths: Sequence[str | os.PathLike[str]], root: str | os.PathLike[str]) -> str:
    """Return number, bytes and digest of files: of all names below ``root`` and sizes, and of ``SAMPLED`` contents.

    About 6 s of one processor for a million files on a local disk. A file that cannot be read counts as one without bytes.
    """
    prefix = os.path.join(root, "")
    names = "\0".join(os.fspath(path).removeprefix(prefix) for path in paths)
    sizes = np.array([_size(path) for path in paths], np.int64)
    digest = hashlib.sha256(names.encode(errors="surrogateescape") + sizes.tobytes())
    for position in _sampled(len(paths)):
        digest.update(hashlib.sha256(_head(paths[position])).digest())
    return f"{len(paths):,} files, {int(sizes.sum()):,} bytes, {_shown(digest)}"


def samples_fingerprint(count: int, read: Callable[[int], NDArray[Any]], *tables: NDArray[Any]) -> str:
    """Return number and digest of ``count`` samples: of the tables that describe all, and of ``SAMPLED`` that are read."""
    digest = hashlib.sha256(b"".join(_bytes(table) for table in tables))
    for position in _sampled(count):
        digest.update(hashlib.sha256(_bytes(read(position))).digest())
    return f"{count:,} samples, {_shown(digest)}"


def _sampled(count: int) -> list[int]:
    return np.unique(np.linspace(0, count - 1, min(count, SAMPLED)).round().astype(np.int64)).tolist()


def _size(path: str | os.PathLike[str]) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _head(path: str | os.PathLike[str]) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(_SAMPLED_BYTES)
    except OSError:
        return b""


def _bytes(array: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(array).tobytes()


def _shown(digest: Any) -> str:
    return f"sha256 {digest.hexdigest()[:16]}"
