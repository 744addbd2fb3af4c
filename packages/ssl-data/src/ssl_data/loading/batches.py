"""The choice of what makes the batches of a loader."""

from collections.abc import Sequence
from typing import Any

import torch

from ssl_data.loading.cpu_batches import HostBatches
from ssl_data.loading.gpu_batches import DeviceBatches
from ssl_data.loading.worker_batches import WorkerBatches
from ssl_data.sources.source import Source
from ssl_data.sources.values import check_stored_values

Batches = HostBatches | DeviceBatches | WorkerBatches


def make_batches(
    source: Source,
    views: Sequence[Any],
    seed: int,
    dtype: torch.dtype,
    num_workers: int,
    device: torch.device | str | None,
    return_parameters: bool,
    persistent_workers: bool,
) -> Batches:
    """Return what makes the batches: threads, the device, or worker processes for views of functions.

    Raises
    ------
    ValueError
        For views of functions with other views, a device or parameters; for values outside of the source's ``value_range``.
    """
    if any(map(callable, views)):
        if return_parameters or device is not None or not all(map(callable, views)):
            raise ValueError(
                "views of functions: expected a function for each view, without device and return_parameters"
            )
        return WorkerBatches(source, views, seed, dtype, num_workers, persistent_workers)
    check_stored_values(source)
    if device is None:
        return HostBatches(source, views, seed, dtype, num_workers, return_parameters)
    return DeviceBatches(source, views, seed, dtype, torch.device(device), return_parameters)
