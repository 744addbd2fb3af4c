"""Several sources as one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ssl_data.sources.fingerprint import images_fingerprint
from ssl_data.sources.source import Pixels, Source


class Joined:
    """The samples of several sources with the same classes, one source after the other, numbered anew."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._ends = np.cumsum([len(each) for each in sources])
        self.images: Pixels | None = None
        self.labels: NDArray[np.int64] = np.concatenate([each.labels for each in sources])
        self.ids: NDArray[np.int64] = np.arange(len(self.labels), dtype=np.int64)
        self.class_names = sources[0].class_names

    def __len__(self) -> int:
        return len(self.labels)

    def fingerprint(self) -> str:
        """Return the fingerprints of all sources."""
        return "; ".join(map(images_fingerprint, self._sources))

    def image(self, position: int) -> Pixels:
        """Return one image, ``(H, W, C)``."""
        part = int(np.searchsorted(self._ends, position, side="right"))
        return self._sources[part].image(position - int(self._ends[part]) + len(self._sources[part]))
