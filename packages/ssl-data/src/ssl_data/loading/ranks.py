"""Checks of the processes that share the batches."""

import warnings

import torch

from ssl_data.errors import ArgumentError


def check_batch_size(batch_size: int, samples: int, world_size: int) -> None:
    """Raise a ValueError for a batch that ``samples`` do not fill, or that the ranks cannot share evenly."""
    if batch_size > samples:
        raise ArgumentError("batch_size", batch_size, f"larger than the data set, which has {samples} samples")
    if batch_size % world_size:
        raise ArgumentError("batch_size", batch_size, f"{world_size} ranks cannot share it evenly; take a multiple")


def warn_of_unknown_rank() -> bool:
    """Warn if there is a process group of several processes, of which a loader does not know; return whether there is."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return False
    processes = torch.distributed.get_world_size()
    if processes > 1:
        warnings.warn(
            f"this is one of {processes} processes, and the loader gives all samples to each of them: pass rank= and "
            "world_size= (rank=0, world_size=1 if that is intended)",
            stacklevel=4,
        )
    return processes > 1
