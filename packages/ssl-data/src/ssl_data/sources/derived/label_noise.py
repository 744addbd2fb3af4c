"""A source with other labels."""

import numpy as np
from numpy.typing import NDArray

from ssl_data.sources.derived.derived import Derived
from ssl_data.sources.source import Source, integer_labels

_LABEL_NOISE = 1  # second word of the key: subsets use another stream


class Relabelled(Derived):
    """The images of another source with other labels, such as noisy ones.

    Parameters
    ----------
    source : Source
        The images; ids and class names are kept.
    labels : array
        ``(M,)`` integer, -1 for no label.

    Raises
    ------
    ValueError
        For labels that are not integers, or another number of labels than of images.
    """

    def __init__(self, source: Source, labels: NDArray[np.int64]) -> None:
        super().__init__(source, np.arange(len(source)))
        self.images, self.labels = source.images, integer_labels("labels", labels)
        if len(self.labels) != len(source):
            raise ValueError(f"labels must be one for each of the {len(source)} images, got {len(self.labels)}")


def symmetric_label_noise(labels: NDArray[np.int64], num_classes: int, share: float, seed: int) -> NDArray[np.int64]:
    """Return labels of which some are wrong: symmetric noise (van Rooyen et al. 2015, https://arxiv.org/abs/1505.07634).

    Each label is replaced with probability ``share`` by one of the other classes, all of them equally likely.

    Parameters
    ----------
    labels : array
        ``(M,) int64`` from 0 to ``num_classes - 1``.
    num_classes : int
        At least two.
    share : float
        Probability, 0 to 1.
    seed : int
        Random seed. A larger ``share`` keeps the wrong labels of a smaller one.
    """
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, _LABEL_NOISE], np.uint64)))
    wrong = rng.random(len(labels)) < share
    other = (labels + 1 + np.floor(rng.random(len(labels)) * (num_classes - 1)).astype(np.int64)) % num_classes
    return np.where(wrong, other, labels)
