"""Some samples of a source."""

import numpy as np
from numpy.typing import NDArray

from ssl_data.sources.source import Source


class Subset:
    """The samples at ``positions`` of another source, with their ids: a view of a sample is the same in every subset."""

    def __init__(self, source: Source, positions: NDArray[np.int64]) -> None:
        self._source = source
        self._positions = positions
        self.images = None if source.images is None else source.images[positions]
        self.labels = source.labels[positions]
        self.ids = source.ids[positions]
        self.class_names = source.class_names

    def __len__(self) -> int:
        return len(self._positions)

    def image(self, position: int) -> NDArray[np.uint8]:
        """Return one image, ``(H, W, C) uint8``."""
        return self._source.image(int(self._positions[position]))


def chosen(labels: NDArray[np.int64], fraction: float, imbalance: float, seed: int) -> NDArray[np.int64]:
    """Return the positions of a seeded part of a data set, ascending.

    Parameters
    ----------
    labels : array
        ``(M,) int64``.
    fraction : float
        Share of each class that is kept, at least one sample.
    imbalance : float
        1 keeps the classes as they are; below, class k of K keeps the share ``imbalance ** (k / (K - 1))``: an
        exponentially long tail (Cui et al. 2019, https://arxiv.org/abs/1901.05555).
    seed : int
        Which ones.
    """
    rng = np.random.Generator(np.random.Philox(key=seed))
    classes = np.unique(labels)
    kept = []
    for rank, label in enumerate(classes):
        positions = np.flatnonzero(labels == label)
        share = fraction * imbalance ** (rank / max(1, len(classes) - 1))
        # random() is pinned by numpy's stream policy more tightly than permutation(): order by it
        order = np.argsort(rng.random(len(positions)), kind="stable")
        kept.append(positions[order[: max(1, round(share * len(positions)))]])
    return np.sort(np.concatenate(kept))
