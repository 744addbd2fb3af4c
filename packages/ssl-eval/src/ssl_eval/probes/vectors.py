"""Features for comparison; for the cosine, rows are normalised when they are read, which saves a copy."""

import torch
from torch import Tensor

CHUNK_ELEMENTS = 2**20  # processed at a time, so that they stay in the cache


def row_lengths(features: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the lengths of the rows ``(N, 1)`` in ``dtype``, above 0, so that rows of zeros stay zeros when divided by."""
    lengths = torch.linalg.vector_norm(features.to(dtype), dim=1, keepdim=True)
    short = (lengths[:, 0] < 2**-35).nonzero()[:, 0]  # their squares are small for float32
    if len(short):
        lengths[short] = torch.linalg.vector_norm(features[short].double(), dim=1, keepdim=True).to(dtype)
    return lengths.clamp_(min=torch.finfo(dtype).tiny)


def unit_rows(features: Tensor, dtype: torch.dtype) -> Tensor:
    """Return rows ``(N, D)`` of length one, or zero, in ``dtype``, which fits the squares of ``features``."""
    return features.to(dtype) / row_lengths(features, dtype)


class Vectors:
    """Rows ``(N, D)`` in the dtype of computation; for the cosine of length one, or zero.

    Parameters
    ----------
    features : Tensor
        ``(N, D)``, of any real dtype; not copied.
    dtype : torch.dtype
        float32 or float64.
    metric : {"cosine", "euclidean"}
        ``euclidean``: rows are not normalised.
    """

    def __init__(self, features: Tensor, dtype: torch.dtype, metric: str) -> None:
        self.features, self.dtype, self.metric = features, dtype, metric
        self.chunk = max(1, CHUNK_ELEMENTS // features.shape[1])  # of rows
        if metric == "cosine":
            self.lengths = torch.cat([row_lengths(part, dtype) for part in features.split(self.chunk)])

    def __len__(self) -> int:
        return len(self.features)

    def rows(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Return the rows from ``start`` up to ``stop``."""
        rows = self.features[start:stop].to(self.dtype)
        return rows / self.lengths[start:stop] if self.metric == "cosine" else rows

    def at(self, indices: Tensor) -> Tensor:
        """Return a copy of the rows at ``indices``."""
        rows = self.features.index_select(0, indices).to(self.dtype)
        return rows.div_(self.lengths.index_select(0, indices)) if self.metric == "cosine" else rows
