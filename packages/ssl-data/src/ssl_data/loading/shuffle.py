"""The order of samples in an epoch: a pure function of (seed, epoch) and the sample ids.

Sorted by words of Philox, since ``torch.randperm`` depends on the number of samples: a subset would have an unrelated order.
"""

import numpy as np
from numpy.typing import NDArray

from ssl_data.augment.jit import compiled
from ssl_data.augment.rng import philox

_LOW, _32 = np.uint64(0xFFFFFFFF), np.uint64(32)
_ORDER = np.uint64(0xFFFFFFFF)  # in place of the number and block of a view; no view has this value


def epoch_order(ids: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int64]:
    """Return positions ``(M,) int64``: the samples sorted by a random word of 64 bits each (ties by position)."""
    return np.argsort(_words(ids, np.uint64(seed), epoch), kind="stable")


@compiled
def _words(ids, seed, epoch):
    words = np.empty(len(ids), np.uint64)
    s = np.uint64(seed)
    for position in range(len(ids)):
        i = np.uint64(ids[position])
        a, b, _, _ = philox(i & _LOW, i >> _32, np.uint64(epoch) & _LOW, _ORDER, s & _LOW, s >> _32)
        words[position] = (a << _32) | b
    return words
