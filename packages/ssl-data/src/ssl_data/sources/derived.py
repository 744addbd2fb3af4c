"""A source with some samples of another one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_data.sources.fingerprint import images_fingerprint
from ssl_data.sources.source import Source


class Derived:
    """The samples at ``positions`` of another source, with their ids; what that source can do beyond images, it can too."""

    def __init__(self, source: Source, positions: NDArray[np.int64]) -> None:
        positions = np.asarray(positions)
        if positions.dtype.kind not in "iu":
            raise ValueError(f"positions must be integers, got {positions.dtype}; for a mask use np.flatnonzero(mask)")
        self._source: Any = source
        self._positions = positions
        self.labels: NDArray[np.int64] = source.labels[positions]
        self.ids: NDArray[np.int64] = source.ids[positions]
        self.class_names = source.class_names

    def __len__(self) -> int:
        return len(self._positions)

    def fingerprint(self) -> str:
        """Return the fingerprint of the images of the whole source; which samples these are is in the ids."""
        return images_fingerprint(self._source)

    def image(self, position: int) -> NDArray[np.uint8]:
        """Return one image, ``(H, W, C) uint8``."""
        return self._source.image(int(self._positions[position]))

    @property
    def scaled_decoding(self) -> bool:
        """Whether the source decodes smaller images where they are enough; else the next two are not asked."""
        return getattr(self._source, "scaled_decoding", False)

    def size(self, position: int) -> tuple[int, int]:
        """Return height and width of an image that need not be decoded for it."""
        return self._source.size(int(self._positions[position]))

    def shrunk(self, position: int, shrink: int) -> NDArray[np.uint8]:
        """Return one image at ``1 / shrink`` of its size."""
        return self._source.shrunk(int(self._positions[position]), shrink)

    @property
    def jpeg(self) -> Any:
        """The method of a source of files that returns a JPEG file's bytes; None if the source has none."""
        own = getattr(self._source, "jpeg", None)
        return own and (lambda position: own(int(self._positions[position])))
