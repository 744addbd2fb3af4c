"""Images of given rows of the features of a loader."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ssl_core.batch import views_of


class Images(NamedTuple):
    """n images of a loader."""

    images: Tensor  # (n, C, H, W) float, normalised as the loader gives them
    labels: Tensor  # (n,) int64
    ids: Tensor  # (n,) int64


def images_by_row(loader: Any, rows: Sequence[int]) -> Images:
    """Return the images of rows of the features, in the order of ``rows``, which may repeat.

    Row r is the r-th labelled image in the order of the sample ids, or the r-th image if none has a label, as
    :func:`ssl_core.evaluation.feature_cache.features_of` orders them. Of a
    :class:`~ssl_core.training.data.protocol.ReferenceLoader` only these images are read; any other loader is read twice, for
    its ids and for the images.

    Raises
    ------
    ValueError
        If the loader does not give the images.
    """
    chosen = sorted(set(rows))
    if hasattr(loader, "labels") and hasattr(loader, "subset"):
        found = _together(loader.subset(_counted(torch.as_tensor(loader.labels))[chosen].numpy()), None)
    else:
        labels, ids = (torch.cat(column) for column in zip(*((label, index) for _, label, index in loader)))
        order = ids.argsort()
        found = _together(loader, ids[order][_counted(labels[order])[chosen]])
    if len(found.ids) != len(chosen):
        raise ValueError(f"the loader gave {len(found.ids)} of {len(chosen)} images")
    order = found.ids.argsort()
    places = order[torch.searchsorted(torch.tensor(chosen), torch.tensor(list(rows)))]
    return Images(*(column[places] for column in found))


def _counted(labels: Tensor) -> Tensor:
    """Return the positions of the labelled images; all, if none is labelled."""
    known = labels >= 0
    return known.nonzero()[:, 0] if known.any() else torch.arange(len(labels))


def _together(batches: Iterable[Any], ids: Tensor | None) -> Images:
    """Return the images with these ids, or all of them, in the order in which they come."""
    parts = []
    for views, labels, index in batches:
        kept = torch.ones_like(index, dtype=torch.bool) if ids is None else torch.isin(index, ids)
        if kept.any():
            parts.append((views_of(views)[0][kept].cpu().float(), labels[kept].cpu(), index[kept].cpu()))
    if not parts:
        raise ValueError("the loader gave none of the images")
    return Images(*(torch.cat(column) for column in zip(*parts)))
