"""Features as they are compared: of length one for the cosine, made so as they are read, for a copy takes memory."""

import torch
from torch import Tensor

CHUNK_ELEMENTS = 2**20  # looked at at a time, so that they stay in the cache


class Vectors:
    """Rows ``(N, D)`` in the dtype of computation; for the cosine of length one, or zero.

    Parameters
    ----------
    features : Tensor
        ``(N, D)``, of any real dtype; kept as they are.
    dtype : torch.dtype
        float32 or float64.
    metric : {"cosine", "euclidean"}
        The Euclidean takes rows as they are.
    """

    def __init__(self, features: Tensor, dtype: torch.dtype, metric: str) -> None:
        self.features, self.dtype, self.metric = features, dtype, metric
        self.chunk = max(1, CHUNK_ELEMENTS // features.shape[1])  # of rows
        if metric == "cosine":
            lengths = [
                torch.linalg.vector_norm(part.to(dtype), dim=1, keepdim=True) for part in features.split(self.chunk)
            ]
            self.lengths = torch.cat(lengths).clamp_(min=1e-12 if dtype == torch.float32 else 1e-150)

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
