"""Mean and standard deviation of each band of the training images, for the normalisation of the views."""

import json
import logging
import math
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_data.loading.threads import bounded_threads
from ssl_data.sources.beton.atomic_file import atomic_file
from ssl_data.sources.fingerprint import fingerprint
from ssl_data.sources.source import Pixels, Source, value_range
from ssl_data.sources.values import check_values

Statistics = tuple[tuple[float, ...], tuple[float, ...]]  # mean and deviation of each band, of values in [0, 1]
IMAGENET: Statistics = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SAMPLED = (
    10_000  # images that are read where they are not in memory; of more, a sample that depends on their number only
)
LEAST_DEVIATION = 1e-3  # of 8-bit images: a quarter of a grey level
_CONSTANT = 1e-6  # deviation below which a band of other images is only centred
_CHUNK = 2**22  # numbers of images in memory that are summed up at a time
_VERSION = 1  # of the files

_Sums = tuple[
    int, NDArray[np.float64], NDArray[np.float64]
]  # pixels, mean and sum of squared differences from it, by band
_message = logging.getLogger(__name__)


def statistics(source: Source, num_workers: int = 1) -> Statistics:
    """Return mean and standard deviation of each band, of values that ``value_range`` maps to [0, 1].

    Images in memory: of all values. Other images: ImageNet's numbers for 8-bit RGB; else of all images, or of a sample of
    ``SAMPLED``, read once and kept in the user's cache folder under the fingerprint of the source.

    Parameters
    ----------
    source : Source
        The training images.
    num_workers : int
        Threads; 0: one for each processor.

    Raises
    ------
    ValueError
        For an image that cannot be read, has other bands than the first, or values outside of ``value_range``.
    """
    if source.images is not None:
        return _of_images(source, bounded_threads(num_workers))
    first = source.image(0)
    rgb = first.dtype == np.uint8 and first.shape[2] == 3
    if rgb and value_range(source, first.dtype) == value_range(first.dtype):
        return IMAGENET
    return _of_files(source, first.dtype, first.shape[2], bounded_threads(num_workers))


def _of_images(source: Source, num_workers: int) -> Statistics:
    assert source.images is not None
    images, bands = source.images, source.images.shape[3]
    if images.dtype != np.uint8:
        step = max(1, _CHUNK // images[0].size)
        chunks = (images[first : first + step] for first in range(0, len(images), step))
        with ThreadPoolExecutor(num_workers, thread_name_prefix="ssl-data") as pool:
            return _scaled(_joined(pool.map(_sums, chunks)), value_range(source), images.dtype)
    counts = np.zeros((bands, 256), np.int64)  # exact, and no float copy of the data
    for first in range(0, len(images), 1024):
        stretch = images[first : first + 1024]
        for band in range(bands):
            counts[band] += np.bincount(stretch[..., band].ravel(), minlength=256)
    low, high = value_range(source)
    values, shares = (np.arange(256) - low) / (high - low), counts / counts.sum(1, keepdims=True)
    means = shares @ values
    deviations = np.sqrt((shares * (values - means[:, None]) ** 2).sum(1)).clip(min=LEAST_DEVIATION)
    return tuple(means.tolist()), tuple(deviations.tolist())


def _of_files(source: Source, dtype: np.dtype[Any], bands: int, num_workers: int) -> Statistics:
    """Return the statistics of images that are read one by one, from the cache where it has them."""
    chosen, allowed = _sample(len(source)), value_range(source, dtype)
    found: dict[str, Any] = fingerprint(source)
    identity = found | {
        "value_range": allowed,
        "bands": bands,
        "sampled": len(chosen),
        "version": _VERSION,
    }
    path = _cache_file(identity) if found["images"] else None  # without a fingerprint the images may have changed
    kept = None if path is None else _read(path, bands)
    if kept is not None:
        return kept
    begin = time.monotonic()

    def read(position: int) -> _Sums:
        image = source.image(position)
        if image.shape[2] != bands or image.dtype != dtype:
            raise ValueError(
                f"sample {source.ids[position]} has {image.shape[2]} bands of {image.dtype}, the first has {bands} of {dtype}"
            )
        check_values(image, allowed, f"sample {source.ids[position]}")
        return _sums(image)

    with ThreadPoolExecutor(num_workers, thread_name_prefix="ssl-data") as pool:
        sums = _joined(pool.map(read, chosen.tolist()))  # in order: the same for any number of threads
    made = _scaled(sums, allowed, dtype)
    where = "" if path is None else _write(path, made)
    _message.info(
        "mean and deviation of %d bands: computed from %s of %s training images in %.1f s%s",
        bands, f"{len(chosen):,}", f"{len(source):,}", time.monotonic() - begin, where,
    )  # fmt: skip
    return made


def _sample(count: int) -> NDArray[np.int64]:
    """Return the positions of the images that are read, ascending: all, or ``SAMPLED`` of them."""
    if count <= SAMPLED:
        return np.arange(count)
    random = np.random.Generator(np.random.Philox(key=count)).random(count)  # numpy promises this stream
    return np.sort(np.argsort(random, kind="stable")[:SAMPLED])


def _sums(images: Pixels) -> _Sums:
    values = images.reshape(-1, images.shape[-1]).astype(np.float64)
    mean = values.mean(0)
    values -= mean
    return len(values), mean, np.einsum("ij,ij->j", values, values)


def _joined(parts: Iterable[_Sums]) -> _Sums:
    """Join the sums of parts (Chan et al. 1979, as in numpy's and scikit-learn's incremental variance)."""
    count, mean, squares = 0, np.zeros(1), np.zeros(1)
    for more, other, own in parts:
        both, difference = count + more, other - mean
        mean = mean + difference * (more / both)
        squares = squares + own + difference**2 * (count * more / both)
        count = both
    return count, mean, squares


def _scaled(sums: _Sums, allowed: tuple[float, float], dtype: np.dtype[Any]) -> Statistics:
    low, high = allowed
    means, deviations = (sums[1] - low) / (high - low), np.sqrt(sums[2] / sums[0]) / (high - low)
    if dtype == np.uint8:
        deviations = deviations.clip(min=LEAST_DEVIATION)
    else:  # also 12-bit data whose range is that of 16 bits has small deviations
        deviations = np.where(deviations < _CONSTANT, 1.0, deviations)
    return tuple(means.tolist()), tuple(deviations.tolist())


def _cache_file(identity: dict[str, Any]) -> Path | None:
    """Return the file for the statistics of some images, below $XDG_CACHE_HOME or ~/.cache; None without a home."""
    digest = sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "ssl_data", "statistics")
    except RuntimeError:
        return None
    return folder / f"{digest}.json"


def _read(path: Path, bands: int) -> Statistics | None:
    """Return the statistics of a file, or None where it is missing or damaged."""
    try:
        found = json.loads(path.read_text())
        mean, std = (tuple(float(number) for number in found[name]) for name in ("mean", "std"))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    valid = len(mean) == len(std) == bands and all(map(math.isfinite, mean + std)) and min(std) > 0
    return (mean, std) if valid else None


def _write(path: Path, made: Statistics) -> str:
    """Keep statistics; return the end of the message. Processes that write at once replace a whole file by an equal one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            file.write(json.dumps({"mean": made[0], "std": made[1]}).encode())
    except OSError as error:  # they are computed again the next time
        return f"; not kept: {error}"
    return f"; kept in '{path}'"
