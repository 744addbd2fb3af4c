"""Read samples of a source once and keep a few numbers of each."""

import hashlib
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ssl_data.augment.seeding import preserved_generators, seed_generators
from ssl_data.sources.adapters.samples import GivesSamples, content_bytes
from ssl_data.sources.source import FileSource, Source

DIGEST = 16  # bytes of a SHA-256 digest that are kept: no two of 2**40 samples have the same by chance
_STRETCH = 64  # samples that a thread reads in a row
_PROGRESS_SECONDS = 0.5
_TRIED = 8  # samples that are read twice, to find out whether they differ from call to call


class Measured(NamedTuple):
    """What is measured of a sample. One that cannot be read has a ``reason`` and no digest."""

    digest: bytes = b""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    is_image: bool = False
    is_constant: bool = False
    is_finite: bool = True
    reason: str = ""


class Tally:
    """The measurements of all samples, by place: the digests, counts, and the places of those that deserve a line."""

    def __init__(self) -> None:
        self.shapes: Counter[tuple[int, ...]] = Counter()
        self.dtypes: Counter[str] = Counter()
        self.are_images = True
        self.unreadable: dict[int, str] = {}  # place -> reason
        self.constant: list[int] = []
        self.not_finite: list[int] = []
        self._digests: list[NDArray[np.bytes_]] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def digests(self) -> NDArray[np.bytes_]:
        """``(m,) S16``, empty where a sample could not be read."""
        return np.concatenate(self._digests) if self._digests else np.array([], f"S{DIGEST}")

    def add(self, stretch: Sequence[Measured]) -> None:
        """Add the measurements of the next samples."""
        self._digests.append(np.array([each.digest for each in stretch], f"S{DIGEST}"))
        for place, each in enumerate(stretch, start=self._count):
            if each.reason:
                self.unreadable[place] = each.reason
                continue
            self.shapes[each.shape] += 1
            self.dtypes[each.dtype] += 1
            self.are_images &= each.is_image
            if each.is_constant:
                self.constant.append(place)
            if not each.is_finite:
                self.not_finite.append(place)
        self._count += len(stretch)


def read_samples(source: Source, positions: NDArray[np.int64], num_workers: int, progress: str = "") -> Tally:
    """Return the measurements of the samples at ``positions``.

    Images are read by threads. Samples of other kinds are read in this thread, since random transforms of a data set draw
    from the global generators, which are seeded before each sample.

    Parameters
    ----------
    source : Source
        Replacements of unreadable samples are not read.
    positions : array
        ``(m,) int64``.
    num_workers : int
        Threads.
    progress : str
        Begins the line on stderr that counts the samples; empty: no line.
    """
    stretches = [positions[first : first + _STRETCH].tolist() for first in range(0, len(positions), _STRETCH)]
    read = partial(_read_stretch, source)
    if isinstance(source, GivesSamples):
        return _collected(map(read, stretches), len(positions), progress)
    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="ssl-data")
    try:
        return _collected(pool.map(read, stretches), len(positions), progress)
    finally:  # also when interrupted
        pool.shutdown(wait=True, cancel_futures=True)


def sample_name(source: Source, position: int) -> str:
    """Return the name of a sample for a user: its path in quotes, or its id."""
    return source.describe(position) if isinstance(source, FileSource) else f"sample {source.ids[position]}"


def differs_by_call(source: Source, positions: NDArray[np.int64]) -> bool:
    """Return whether a sample differs from one call to the next, e.g. by random transforms of the data set."""
    if not isinstance(source, GivesSamples):
        return False
    some = positions[np.unique(np.linspace(0, len(positions) - 1, _TRIED).round().astype(np.int64))]
    with preserved_generators():
        first, second = ([_measured(source, position, seed).digest for position in some.tolist()] for seed in (0, 1))
    return first != second


def _collected(stretches: Iterable[list[Measured]], total: int, progress: str) -> Tally:
    tally, shown = Tally(), time.monotonic()
    is_shown = False
    try:
        for stretch in stretches:
            tally.add(stretch)
            if progress and time.monotonic() - shown > _PROGRESS_SECONDS:
                shown, is_shown = time.monotonic(), True
                print(f"\r{progress}: {len(tally):,} of {total:,} read", end="", file=sys.stderr, flush=True)
    finally:
        if is_shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)  # removes the line
    return tally


def _read_stretch(source: Source, positions: Sequence[int]) -> list[Measured]:
    if not isinstance(source, GivesSamples):
        return [_measured(source, position) for position in positions]
    with preserved_generators():
        return [_measured(source, position) for position in positions]


def _measured(source: Source, position: int, seed: int = 0) -> Measured:
    try:
        if isinstance(source, FileSource):
            return _measured_array(np.asarray(source.stored_image(position)), is_image=True)
        if not isinstance(source, GivesSamples):
            return _measured_array(np.asarray(source.image(position)), is_image=True)
        seed_generators(seed + position)
        sample = source.sample(position)
        if isinstance(sample, Image.Image):
            array = np.asarray(sample)
            return _measured_array(array[..., None] if array.ndim == 2 else array, is_image=True)
        if isinstance(sample, Tensor):
            sample = sample.detach().cpu()
            return _measured_array(
                (sample.float() if sample.dtype.itemsize == 2 else sample).numpy(), str(sample.dtype)
            )
        if isinstance(sample, np.ndarray):
            return _measured_array(sample)
        return Measured(hashlib.sha256(content_bytes(sample)).digest()[:DIGEST], (), type(sample).__name__)
    except Exception as error:  # of the user's data set: any
        return Measured(reason=f"{error}" or type(error).__name__)


def _measured_array(array: NDArray[Any], dtype: str = "", is_image: bool = False) -> Measured:
    kind = (dtype or str(array.dtype)).removeprefix("torch.")
    digest = hashlib.sha256(f"{kind} {array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    flat = array.reshape(-1, array.shape[2]) if is_image else array.reshape(-1, 1)
    constant = len(flat) > 1 and bool((flat[:_STRETCH] == flat[0]).all()) and bool((flat == flat[0]).all())
    finite = array.dtype.kind not in "fc" or bool(np.isfinite(array).all())
    return Measured(digest.digest()[:DIGEST], array.shape, kind, is_image, constant, finite)
