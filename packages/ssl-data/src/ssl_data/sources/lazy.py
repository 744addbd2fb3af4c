"""Base class of sources whose images are read one by one."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ssl_data.errors import ArgumentError
from ssl_data.loading.threads import bounded_threads
from ssl_data.sources.files.decode import UNREADABLE
from ssl_data.sources.source import Pixels
from ssl_data.sources.unreadable import Substitutes
from ssl_data.sources.values import check_values
from ssl_data.value_range import checked_range

MEMORY = 2**30  # bytes up to which a source is kept decoded
PIXELS = ("rgb8", "stored")
_THUMBNAIL = 64 * 64  # pixels
_STRETCH = 64  # samples that a thread decodes in a row


class StoredSource:
    """Samples that are read on demand or all at once into memory; unreadable ones can be replaced.

    A subclass defines how a sample is read and how it is named in messages. ``where`` begins messages, ``group`` stands before
    the names of options in them. ``pixels`` is "rgb8" or "stored": then all images have to have the bands and the type of the
    first that can be read, and finite values within ``value_range``, if it is given.
    """

    def __init__(
        self,
        where: str,
        labels: NDArray[np.int64],
        class_names: list[str],
        on_error: str,
        skip_limit: float,
        group: str = "",
        pixels: str = "rgb8",
        value_range: tuple[float, float] | None = None,
    ) -> None:
        if pixels not in PIXELS:
            raise ArgumentError("pixels", pixels, f"expected {' or '.join(map(repr, PIXELS))}")
        self.pixels = pixels
        self.value_range = None if value_range is None else checked_range(value_range)
        self.labels, self.class_names = labels, class_names
        self.ids: NDArray[np.int64] = np.arange(len(labels), dtype=np.int64)
        self.images: Pixels | None = None
        self._first: tuple[int, int, np.dtype] | None = None  # position, bands and type of the first readable image
        self._readable = Substitutes(where, labels, self._describe, on_error, skip_limit, group)

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, position: int) -> Pixels:
        """Return one image, ``(H, W, C)``: uint8, or with ``pixels="stored"`` also uint16 or float32."""
        if self.images is not None:
            return self.images[position]
        return self._readable.read(position, self._read if self.pixels == "rgb8" else self._read_stored)

    def stored_image(self, position: int) -> NDArray[np.uint8]:
        """Return one image without replacement: one that cannot be read is an error."""
        is_kept = self.images is not None and position not in self.skipped
        return self.images[position] if is_kept else self._read(position)  # type: ignore[index]

    def describe(self, position: int) -> str:
        """Return how messages call a sample, such as its path in quotes."""
        return self._describe(position)

    @property
    def skipped(self) -> set[int]:
        """The positions of the unreadable samples that were met so far, and replaced."""
        return self._readable.skipped

    def load_into_memory(self, memory: int = MEMORY, num_workers: int = 1) -> None:
        """Read everything once into ``images``, if it takes at most ``memory`` bytes and is of one size."""
        first = self.image(0)
        shape = first.shape
        if self.images is not None or len(self) * first.nbytes > memory:
            return
        kept = np.empty((len(self), *shape), first.dtype)

        def fill(first: int) -> bool:
            for position in range(first, min(first + _STRETCH, len(self))):
                image = self.image(position)
                if image.shape != shape:
                    return False
                kept[position] = image
            return True

        # A thumbnail takes more time in the interpreter than in the decoder: threads would only wait for each other
        with ThreadPoolExecutor(bounded_threads(num_workers) if shape[0] * shape[1] > _THUMBNAIL else 1) as pool:
            if all(pool.map(fill, range(0, len(self), _STRETCH))):
                self.images = kept

    def _read_stored(self, position: int) -> Pixels:
        """Return one image that is like the first, or raise one of ``UNREADABLE``."""
        image = self._read(position)
        if self._first is None:
            self._first = self._find_first()
        at, bands, dtype = self._first
        if (image.shape[2], image.dtype) != (bands, dtype):
            raise ValueError(
                f"it has {_counted(image.shape[2])} of {image.dtype}, and sample {at}, {self._describe(at)}, "
                f"{_counted(bands)} of {dtype}; expected the same for all"
            )
        if dtype.kind == "f" and not np.isfinite(image).all():
            wrong = image.size - int(np.isfinite(image).sum())
            raise ValueError(f"{wrong:,} of its {image.size:,} values are NaN or infinite; replace them by finite ones")
        if self.value_range is not None:
            check_values(image, self.value_range, "pixels")
        return image

    def _find_first(self) -> tuple[int, int, np.dtype]:
        for position in range(len(self)):
            try:
                image = self._read(position)
            except UNREADABLE:
                continue
            return position, image.shape[2], image.dtype
        raise ValueError("no image can be read")

    def _read(self, position: int) -> Pixels:
        """Return one image, or raise one of ``UNREADABLE``."""
        raise NotImplementedError

    def _describe(self, position: int) -> str:
        """Return how messages call a sample, such as its path."""
        raise NotImplementedError


def _counted(bands: int) -> str:
    return f"{bands} band{'s' if bands > 1 else ''}"
