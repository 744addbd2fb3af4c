"""A loader's batch on its way to the device."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def to_device(batch: Sequence[Any], device: torch.device, dtype: torch.dtype | None = None) -> list[Any]:
    """Return ``[input, labels, ids]`` on ``device``, images in channels_last.

    Parameters
    ----------
    batch : (views, labels, indices)
        As loaders give it: a list of V tensors ``(N, C, H, W)``, labels ``(N,)``, ids ``(N,)``.
    device : torch.device
        Where the model is.
    dtype : torch.dtype, optional
        Of the views. Default: as they come.

    Returns
    -------
    list
        A single view is handed over as the tensor itself, several as their list.
    """
    views, *rest = batch
    moved = [_move(view, device, dtype) for view in views_of(views)]
    return [moved[0] if len(moved) == 1 else moved, *(_move(item, device) for item in rest)]


def views_of(views: Any) -> list[Tensor]:
    """Return the views of a batch as a list, of a single one where it is handed over as the tensor itself."""
    return [views] if isinstance(views, Tensor) else views


def concatenate(batches: Sequence[Sequence[Any]]) -> list[Any]:
    """Return one batch of several, on their device: tensors one after the other, in lists and dicts as they stand in."""
    return _joined(batches)


def _joined(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], Tensor):
        return torch.cat(list(parts))
    if isinstance(parts[0], dict):
        return {name: _joined([part[name] for part in parts]) for name in parts[0]}
    return [_joined(each) for each in zip(*parts)]


def _move(value: Any, device: torch.device, dtype: torch.dtype | None = None) -> Any:
    if not isinstance(value, Tensor):
        return value
    if value.ndim == 4:
        return value.to(device, dtype, non_blocking=True, memory_format=torch.channels_last)
    return value.to(device, dtype, non_blocking=True)
