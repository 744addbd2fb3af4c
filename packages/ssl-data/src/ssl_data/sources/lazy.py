"""Base class of sources whose images are read one by one."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ssl_data.loading.threads import bounded_threads
from ssl_data.sources.unreadable import Substitutes

MEMORY = 2**30  # bytes up to which a source is kept decoded
_THUMBNAIL = 64 * 64  # pixels
_STRETCH = 64  # samples that a thread decodes in a row


class StoredSource:
    """Samples that are read on demand or all at once into memory; unreadable ones can be replaced.

    A subclass defines how a sample is read and how it is named in messages. ``where`` begins messages, ``group`` stands before
    the names of options in them.
    """

    def __init__(
        self,
        where: str,
        labels: NDArray[np.int64],
        class_names: list[str],
        on_error: str,
        skip_limit: float,
        group: str = "",
    ) -> None:
        self.labels, self.class_names = labels, class_names
        self.ids: NDArray[np.int64] = np.arange(len(labels), dtype=np.int64)
        self.images: NDArray[np.uint8] | None = None
        self._readable = Substitutes(where, labels, self._describe, on_error, skip_limit, group)

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, position: int) -> NDArray[np.uint8]:
        """Return one image, ``(H, W, C) uint8``."""
        return self.images[position] if self.images is not None else self._readable.read(position, self._read)

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
        shape = self.image(0).shape
        if self.images is not None or len(self) * int(np.prod(shape)) > memory:
            return
        kept = np.empty((len(self), *shape), np.uint8)

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

    def _read(self, position: int) -> NDArray[np.uint8]:
        """Return one image, or raise one of ``UNREADABLE``."""
        raise NotImplementedError

    def _describe(self, position: int) -> str:
        """Return how messages call a sample, such as its path."""
        raise NotImplementedError
