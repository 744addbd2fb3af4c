"""Seeds of views that are made by functions: a pure function of (seed, epoch, index, view)."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_data.augment.jit import compiled
from ssl_data.augment.rng import words

_BLOCK = 2**20 - 1  # of the generator's counter; the views of the engine use the first blocks


def view_seed(seed: int, epoch: int, index: int, view: int) -> int:
    """Return the seed of one view of one sample, 64 bits from Philox 4x32-10.

    Parameters
    ----------
    seed, epoch, index, view : int
        Seed of the loader, number of the epoch, id of the sample, and number of the view.

    Examples
    --------
    >>> view_seed(seed=0, epoch=0, index=7, view=1) == view_seed(seed=0, epoch=0, index=7, view=0)
    False
    """
    high, low, _, _ = words(np.uint64(seed), epoch, index, view, _BLOCK)
    return int(high) << 32 | int(low)


def view_seeds(seed: int, epoch: int, indices: NDArray[np.int64], views: Sequence[int]) -> list[list[int]]:
    """Return :func:`view_seed` of each of some views, for each of some samples: a call takes 5 us for all of them."""
    seeds: list[list[int]] = _seeds(np.uint64(seed), epoch, indices, np.array(views)).tolist()
    return seeds


@compiled
def _seeds(seed, epoch, indices, views):
    seeds = np.empty((len(indices), len(views)), np.uint64)
    for i in range(len(indices)):
        for v in range(len(views)):
            high, low, _, _ = words(seed, epoch, indices[i], views[v], _BLOCK)
            seeds[i, v] = (high << np.uint64(32)) | low
    return seeds


def seed_generators(seed: int, only_torch: bool = False) -> None:
    """Seed the global generators of torch (CPU), Python and numpy, which the transforms of other libraries draw from."""
    torch.default_generator.manual_seed(seed)  # torch.manual_seed also visits every device, which takes 0.5 ms
    if only_torch:
        return
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)  # noqa: NPY002 - the global generator is meant; it takes 32 bits


@contextmanager
def preserved_generators() -> Iterator[None]:
    """Restore the global generators of torch (CPU), Python and numpy at the end, and torch's number of threads.

    The body has one thread, as a worker process has: sums over several threads differ in their last bits.
    """
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])  # noqa: NPY002
