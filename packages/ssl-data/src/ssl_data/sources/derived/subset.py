"""Subsets of a source."""

import numpy as np
from numpy.typing import NDArray

from ssl_data.errors import ArgumentError
from ssl_data.sources.derived.derived import Derived
from ssl_data.sources.source import Source


class Subset(Derived):
    """A subset of another source. Samples keep their ids, so that the views of a sample are the same in every subset.

    Parameters
    ----------
    source : Source
        The whole source.
    positions : array
        ``(m,) int64``, the positions of the samples in ``source``.
    """

    def __init__(self, source: Source, positions: NDArray[np.int64]) -> None:
        super().__init__(source, positions)
        self.images = None if source.images is None else source.images[positions]


def subset_indices(
    labels: NDArray[np.int64], fraction: float, imbalance: float, seed: int, per_class: int = 0
) -> NDArray[np.int64]:
    """Return the positions of a seeded part of a data set, ascending.

    Parameters
    ----------
    labels : array
        ``(M,) int64``.
    fraction : float
        Share of each class that is kept, at least one sample.
    imbalance : float
        1 keeps the classes as they are. Below, the classes shrink to an exponentially long tail (Cui et al. 2019,
        https://arxiv.org/abs/1901.05555): the last class keeps ``imbalance`` times as many samples as the first, class k
        of K ``imbalance ** (k / (K - 1))`` times as many; the first as many as the smallest class allows.
    seed : int
        Random seed. A smaller part is a subset of a larger one.
    per_class : int
        Samples of each class that are kept; 0: all. With an imbalance, of the first class.

    Raises
    ------
    ValueError
        If a class has fewer than ``per_class`` samples.
    """
    if fraction == 1 and imbalance == 1 and not per_class:
        return np.arange(len(labels))
    rng = np.random.Generator(np.random.Philox(key=seed))
    classes, available = np.unique(labels, return_counts=True)
    if per_class and available.min() < per_class:
        short = int(classes[available.argmin()])
        raise ArgumentError("per_class", per_class, f"class {short} has {available.min()} images")
    wanted = np.full(len(classes), per_class, float) if per_class else available.astype(float)
    if imbalance < 1:
        tail = imbalance ** (np.arange(len(classes)) / max(1, len(classes) - 1))
        wanted = (wanted / tail).min() * tail
    kept = []
    for label, count in zip(classes, wanted):
        positions = np.flatnonzero(labels == label)
        # Ordered by random(), since numpy promises its stream, not that of permutation(); scikit-learn uses the latter
        order = np.argsort(rng.random(len(positions)), kind="stable")
        kept.append(positions[order[: max(1, round(fraction * count))]])
    return np.sort(np.concatenate(kept))
