"""Random numbers as a function of where the run stands: nothing of them needs to be saved."""

import hashlib
import random
import sys

import torch


def seed_everything(seed: int) -> None:
    """Seed Python, torch on every device, and numpy if somebody has loaded it."""
    random.seed(seed)
    torch.manual_seed(seed)
    numpy = sys.modules.get("numpy")  # torch alone does not bring it, and we do not need it
    if numpy is not None:
        numpy.random.seed(seed % 2**32)


def seed_step(seed: int, epoch: int, batch: int, rank: int) -> None:
    """Seed everything for one training batch on one rank: a resumed run draws what an uninterrupted one draws."""
    digest = hashlib.blake2b(f"{seed} {epoch} {batch} {rank}".encode(), digest_size=8).digest()
    seed_everything(int.from_bytes(digest, "little") >> 1)
