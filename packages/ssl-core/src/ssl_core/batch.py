"""A batch of training or evaluation data."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """Views, labels and sample ids of N samples."""

    views: list[Tensor]  # V tensors (N, C, H, W) float; always a list
    labels: Tensor  # (N,) int64, -1 for none
    ids: Tensor  # (N,) int64


class CroppedBatch(Batch):
    """A batch with the crops of its views, of a method with ``needs_crops``. It unpacks as a :class:`Batch`."""

    # V tensors (N, 5) float: top, left, height, width in pixels of the stored image, and 1 for a view mirrored left to right
    crops: list[Tensor]


def to_device(batch: Sequence[Any], device: torch.device, dtype: torch.dtype | None = None) -> Batch:
    """Return a loader's batch on ``device``, images in channels_last.

    Parameters
    ----------
    batch : (views, labels, ids) or (views, labels, ids, crops)
        As loaders give it: a list of V tensors ``(N, C, H, W)`` or one tensor, labels ``(N,)``, ids ``(N,)``.
    device : torch.device
        Device of the model.
    dtype : torch.dtype, optional
        Floating-point type of the views. Default: unchanged.
    """
    views, labels, ids, *crops = batch
    parts = [_move(view, device, dtype) for view in views_of(views)], _move(labels, device), _move(ids, device)
    if not crops:
        return Batch(*parts)
    cropped = CroppedBatch(*parts)
    cropped.crops = [_move(each, device) for each in crops[0]]
    return cropped


def views_of(views: Any) -> list[Tensor]:
    """Return the views of a loader's batch as a list."""
    return [views] if isinstance(views, Tensor) else views


def concatenate(batches: Sequence[Batch]) -> Batch:
    """Return the samples of several batches as one batch."""
    views = [torch.cat(parts) for parts in zip(*(batch.views for batch in batches))]
    return Batch(views, torch.cat([batch.labels for batch in batches]), torch.cat([batch.ids for batch in batches]))


def _move(value: Any, device: torch.device, dtype: torch.dtype | None = None) -> Any:
    if not isinstance(value, Tensor):
        return value
    if value.ndim == 4:
        return value.to(device, dtype, non_blocking=True, memory_format=torch.channels_last)
    if value.device == device and (dtype is None or value.dtype == dtype):  # saves a call of torch in each step
        return value
    return value.to(device, dtype, non_blocking=True)
