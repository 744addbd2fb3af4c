"""A grey source in colour."""

import numpy as np

from ssl_data.sources.fingerprint import images_fingerprint
from ssl_data.sources.source import Pixels, Source


class GreyAsRGB:
    """The images of a source with one band, repeated as three equal bands."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.labels, self.ids, self.class_names = source.labels, source.ids, source.class_names
        self.images: Pixels | None = None if source.images is None else np.repeat(source.images, 3, axis=3)

    def __len__(self) -> int:
        return len(self.labels)

    def fingerprint(self) -> str:
        """Return the fingerprint of the grey images."""
        return images_fingerprint(self._source)

    def image(self, position: int) -> Pixels:
        """Return one image, ``(H, W, 3)``."""
        return np.repeat(self._source.image(position), 3, axis=2)
