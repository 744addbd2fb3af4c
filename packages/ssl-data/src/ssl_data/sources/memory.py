"""All images of a source in memory, decoded once."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ssl_data.sources.source import Source

MEMORY = 2**30  # bytes up to which a source is kept decoded
_THUMBNAIL = 64 * 64  # pixels
_STRETCH = 64  # samples that a thread decodes in a row


def decoded(source: Source, memory: int, num_workers: int) -> NDArray[np.uint8] | None:
    """Return all images, ``(M, H, W, C) uint8``, if they are of one size and take at most ``memory`` bytes; else None."""
    shape = source.image(0).shape
    if len(source) * int(np.prod(shape)) > memory:
        return None
    kept = np.empty((len(source), *shape), np.uint8)

    def fill(first: int) -> bool:
        for position in range(first, min(first + _STRETCH, len(source))):
            image = source.image(position)
            if image.shape != shape:
                return False
            kept[position] = image
        return True

    # a thumbnail costs more in the interpreter than in the decoder, and threads would only wait for each other
    with ThreadPoolExecutor(num_workers if shape[0] * shape[1] > _THUMBNAIL else 1) as pool:
        return kept if all(pool.map(fill, range(0, len(source), _STRETCH))) else None
