"""Seed random numbers by epoch and batch, so that no generator state needs to be saved."""

import hashlib
import random
import sys

import torch


def seed_everything(seed: int) -> None:
    """Seed Python, torch on all devices, and numpy if it is imported."""
    torch.manual_seed(seed)
    _seed_python(seed)


def seed_step(seed: int, epoch: int, batch: int, rank: int) -> None:
    """Seed everything for one training batch on one rank: a resumed run draws the same numbers as an uninterrupted one.

    ``torch.manual_seed`` is slower: it keeps a traceback for each kind of device that is not in use, 150 us in total.
    """
    step_seed = mixed_seed(seed, epoch, batch, rank)
    torch.default_generator.manual_seed(step_seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(step_seed)
    _seed_python(step_seed)


def mixed_seed(*numbers: int) -> int:
    """Return a seed that is a function of all numbers, e.g. of the seed of the run and the epoch."""
    digest = hashlib.blake2b(" ".join(map(str, numbers)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def _seed_python(seed: int) -> None:
    random.seed(seed)
    numpy = sys.modules.get("numpy")  # torch does not import it, and neither do we
    if numpy is not None:
        numpy.random.seed(seed % 2**32)
