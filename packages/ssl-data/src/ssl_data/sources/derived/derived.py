"""A source with some samples of another one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_data.sources.adapters.samples import name_of, read_sample
from ssl_data.sources.fingerprint import images_fingerprint
from ssl_data.sources.source import JPEGSource, Pixels, RangedSource, ScaledSource, Source


class Derived:
    """The samples at ``positions`` of another source, with their ids. They are scaled and copied as JPEG where it can do so."""

    def __init__(self, source: Source, positions: NDArray[np.int64]) -> None:
        positions = np.asarray(positions)
        if positions.dtype.kind not in "iu":
            raise ValueError(f"positions must be integers, got {positions.dtype}; for a mask use np.flatnonzero(mask)")
        self._source = source
        self._scaled = source if isinstance(source, ScaledSource) and source.scaled_decoding else None
        self._jpegs = source if isinstance(source, JPEGSource) else None
        self._positions = positions
        self.labels: NDArray[np.int64] = source.labels[positions]
        self.ids: NDArray[np.int64] = source.ids[positions]
        self.class_names = source.class_names
        self.name = name_of(source)

    def __len__(self) -> int:
        return len(self._positions)

    def fingerprint(self) -> str:
        """Return the fingerprint of the images of the whole source; which samples these are is in the ids."""
        return images_fingerprint(self._source)

    @property
    def value_range(self) -> tuple[float, float] | None:
        """The range of the source, or None: by the type of its images."""
        return self._source.value_range if isinstance(self._source, RangedSource) else None

    def image(self, position: int) -> Pixels:
        """Return one image, ``(H, W, C)``."""
        return self._source.image(int(self._positions[position]))

    def sample(self, position: int) -> Any:
        """Return one sample, as :func:`ssl_data.sources.adapters.samples.read_sample` reads it."""
        return read_sample(self._source, int(self._positions[position]))

    @property
    def scaled_decoding(self) -> bool:
        """Whether the source decodes smaller images; else the next two functions are not called."""
        return self._scaled is not None

    def size(self, position: int) -> tuple[int, int]:
        """Return height and width of an image without decoding it."""
        assert self._scaled is not None
        return self._scaled.size(int(self._positions[position]))

    def shrunk(self, position: int, shrink: int) -> NDArray[np.uint8]:
        """Return one image at ``1 / shrink`` of its size."""
        assert self._scaled is not None
        return self._scaled.shrunk(int(self._positions[position]), shrink)

    def jpeg(self, position: int) -> tuple[NDArray[np.uint8], int, int] | None:
        """Return the bytes of a JPEG file with its height and width, or None if the source has none."""
        return None if self._jpegs is None else self._jpegs.jpeg(int(self._positions[position]))

    def origin(self, positions: NDArray[np.int64]) -> tuple[Source, NDArray[np.int64]]:
        """Return the other source, and the positions that samples of this one have there."""
        return self._source, self._positions[positions]
