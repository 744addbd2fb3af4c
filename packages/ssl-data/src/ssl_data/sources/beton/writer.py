"""Writer of FFCV files.

Written by hand since FFCV's writer waits forever when one of its processes dies (a bad image, a full disk), and leaves an
incomplete file behind. Here threads encode the samples; FFCV's loader reads the result in a test.
"""

import errno
import io
import os
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssl_data.errors import ArgumentError
from ssl_data.loading.threads import bounded_threads
from ssl_data.sources.beton import format as beton
from ssl_data.sources.beton.atomic_file import atomic_file
from ssl_data.sources.source import JPEGSource, Source, integer_labels

PAGE = 2**23  # bytes that FFCV's loader reads at once; a sample lies within one
_STRETCH = 32  # samples a thread that are made before they are written

Stored = tuple[NDArray[np.uint8], int, int, int]  # the bytes of an image, its mode, width and height


def write_beton(
    source: Source,
    path: str | os.PathLike[str],
    mode: str = "raw",
    quality: int = 95,
    num_workers: int = 1,
    page_size: int = PAGE,
    progress: bool = False,
) -> None:
    """Write a source as a ``.beton`` file; it is renamed to its name when it is complete.

    Parameters
    ----------
    source : Source
        Grey images are repeated over three channels.
    path : path
        The file; an existing one is replaced.
    mode : {"raw", "jpg"}
        ``raw`` stores pixels. ``jpg`` stores JPEG files of a folder as they are, if they are in colour and upright, and
        compresses everything else.
    quality : int
        Quality of the JPEG compression, 1 to 100.
    num_workers : int
        Number of threads that decode and compress.
    page_size : int
        Bytes of a page, a power of two, at least ``2**21``; no sample can be larger.
    progress : bool
        Whether to show a progress bar.

    Raises
    ------
    ValueError
        For another mode, labels that are not integers, a sample that cannot be read, that is not 8-bit RGB or grey, or that is
        larger than a page.
    OSError
        If the file cannot be written or the disk is full: nothing is left behind.
    """
    num_workers = bounded_threads(num_workers)
    if mode not in ("raw", "jpg"):
        raise ArgumentError("mode", mode, "expected 'raw' or 'jpg'")
    if not 1 <= quality <= 100:
        raise ArgumentError("quality", quality, "expected 1 to 100")
    if page_size < 2**21 or page_size & (page_size - 1):
        raise ArgumentError("page_size", page_size, f"expected a power of two, at least {2**21}")
    labels = integer_labels("labels", source.labels)
    fields = np.array([(beton.IMAGE_KIND, b"image", b""), (beton.INTEGER_KIND, b"label", b"")], beton.FIELD)
    described = np.zeros(len(source), beton.sample_type([beton.IMAGE, beton.INTEGER]))
    allocations = np.zeros(len(source), beton.ALLOCATION)
    first = -(-(beton.HEADER.itemsize + fields.nbytes + described.nbytes) // page_size) * page_size
    samples = _encoded(len(source), _encoder(source, mode, quality), num_workers)
    path, end, position = Path(path), first, 0
    try:
        with atomic_file(path) as file, _bar(path.name, len(source), progress) as advance:
            for position, (stored, kind, width, height) in enumerate(samples):
                if len(stored) > page_size:
                    raise ValueError(
                        f"sample {position} takes {len(stored):,} bytes, a page of the file {page_size:,}: set page_size"
                    )
                if end % page_size + len(stored) > page_size:
                    end += -end % page_size
                described[position] = (kind, width, height, end), labels[position]
                allocations[position] = position, end, len(stored)
                file.seek(end)
                file.write(stored.data)
                end += len(stored)
                advance()
            end += -end % page_size
            file.seek(end)
            file.write(allocations.tobytes())
            file.seek(0)
            header = np.array((beton.VERSION, len(fields), page_size, len(source), end), beton.HEADER)
            file.write(header.tobytes() + fields.tobytes() + described.tobytes())
    except OSError as error:
        raise _explained(error, path, position, len(source), end) from error
    finally:
        samples.close()


def _explained(error: OSError, path: Path, written: int, total: int, end: int) -> OSError:
    """Return the error; of a full disk with the samples that were written and the bytes that all would need."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return error
    text = (
        f"{error.strerror} after {written:,} of {total:,} samples and {end / 1e6:,.1f} MB, all would take about "
        f"{end * total / max(1, written) / 1e6:,.0f} MB; nothing was left behind"
    )
    return OSError(error.errno, text, str(path))


def _encoder(source: Source, mode: str, quality: int) -> Callable[[int], Stored]:
    jpegs = source if mode == "jpg" and isinstance(source, JPEGSource) else None

    def encode(position: int) -> Stored:
        stored = None if jpegs is None else jpegs.jpeg(position)
        if stored is not None:
            return stored[0], beton.JPEG, stored[2], stored[1]
        image = source.image(position)
        if image.dtype != np.uint8 or image.shape[2] not in (1, 3):
            raise ValueError(
                f"sample {position} has {image.shape[2]} bands of {image.dtype}; the images of a .beton file are 8-bit RGB: "
                "keep others as .npy or TIFF files in class folders, or as arrays"
            )
        image = np.ascontiguousarray(image if image.shape[2] == 3 else image.repeat(3, axis=2))
        height, width, _ = image.shape
        if mode == "raw":
            return image.reshape(-1), beton.RAW, width, height
        file = io.BytesIO()
        Image.fromarray(image).save(file, "jpeg", quality=quality)
        return np.frombuffer(file.getvalue(), np.uint8), beton.JPEG, width, height

    return encode


def _encoded(count: int, encode: Callable[[int], Stored], num_workers: int) -> Generator[Stored]:
    """Yield all samples in order, a part of them at a time in memory."""
    stretch = _STRETCH * num_workers
    with ThreadPoolExecutor(num_workers) as pool:
        for first in range(0, count, stretch):
            yield from pool.map(encode, range(first, min(first + stretch, count)))


@contextmanager
def _bar(name: str, total: int, shown: bool) -> Iterator[Callable[[], object]]:
    """Yield the function that is called after each sample."""
    if not shown:
        yield lambda: None
        return
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ImportError("the progress bar needs tqdm: pip install tqdm, or pass --quiet") from error
    with tqdm(total=total, desc=name, unit=" images") as bar:
        yield bar.update
