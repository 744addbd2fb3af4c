"""The choice of what makes the batches of a loader."""

from collections.abc import Sequence
from typing import Any

import torch

from ssl_data.errors import ArgumentError
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
        other = next((number for number, view in enumerate(views) if not callable(view)), None)
        if other is not None:
            raise ValueError(
                f"views: view {other} is a {type(views[other]).__name__}, others are functions: expected a function for each "
                "view, or a ViewSpec for each"
            )
        for name, value in (("device", device), ("return_parameters", return_parameters or None)):
            if value is not None:
                raise ArgumentError(name, value, "the views are functions, which run in processes: leave it out")
        return WorkerBatches(source, views, seed, dtype, num_workers, persistent_workers)
    check_stored_values(source)
    if device is None:
        return HostBatches(source, views, seed, dtype, num_workers, return_parameters)
    return DeviceBatches(source, views, seed, dtype, torch.device(device), return_parameters)
