"""Memory bank: one row for each training sample, by its id."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_losses.components.accumulation import AccumulatedState, Change
from ssl_losses.distributed import gather_with_gradient


class MemoryBank(AccumulatedState):
    """Rows by sample id, the same on all ranks: features, or assignments to clusters.

    The memory bank of instance discrimination (Wu et al. 2018, https://arxiv.org/abs/1805.01978) and PIRL (Misra & van der
    Maaten 2020, https://arxiv.org/abs/1912.01991). It is empty until :meth:`fill`. All of it is in the ``state_dict``: 0.6 GB
    for ImageNet and D = 128. Ids can be any numbers: those of a subset of a data set are not 0 to M - 1.

    Parameters
    ----------
    momentum : float
        m of an update ``row ← m · row + (1 - m) · new``, scaled to length 1 afterwards. 0: the new row, unscaled.
    dtype : torch.dtype
        Type of the rows.

    Attributes
    ----------
    ids : Tensor
        Buffer ``(M,) int64``, ascending.
    rows : Tensor
        Buffer ``(M, ...)``.

    Examples
    --------
    >>> bank = MemoryBank(momentum=0.5)
    >>> bank.fill(torch.tensor([3, 8]), torch.eye(2))
    >>> bank.update(torch.tensor([8]), torch.tensor([[1.0, 0.0]]))
    >>> bank.lookup(torch.tensor([8, 3])).tolist()
    [[0.7071067690849304, 0.7071067690849304], [1.0, 0.0]]
    """

    ids: Tensor
    rows: Tensor

    def __init__(self, momentum: float = 0.0, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum={momentum}: expected a number from 0 (the last row) to 1 (excluded)")
        self.momentum = momentum
        self.register_buffer("ids", torch.empty(0, dtype=torch.int64))
        self.register_buffer("rows", torch.empty(0, 0, dtype=dtype))

    def __len__(self) -> int:
        return len(self.ids)

    def fill(self, ids: Tensor, rows: Tensor) -> None:
        """Set all rows ``(M, ...)`` and their ids ``(M,) int64``, ascending; the same on all ranks."""
        self.ids, self.rows = ids, rows.to(self.rows.dtype)

    def positions(self, ids: Tensor) -> Tensor:
        """Return the positions ``(N,) int64`` of sample ids ``(N,) int64`` among the rows. Each has to be known."""
        return torch.searchsorted(self.ids, ids)

    def lookup(self, ids: Tensor) -> Tensor:
        """Return a copy of the rows ``(N, ...)`` of sample ids ``(N,) int64``."""
        return self.rows[self.positions(ids)]

    @torch.no_grad()
    def update(self, ids: Tensor, rows: Tensor) -> None:
        """Update the rows of the samples of all ranks, ``(N,) int64`` and ``(N, ...)``; all ranks must call with one shape.

        With gradient accumulation the rows move once, after the last batch of the optimizer step.
        """
        self.change_state(gather_with_gradient(ids), gather_with_gradient(rows.to(self.rows.dtype)))

    def merge_changes(self, first: Change, second: Change) -> Change:
        """Return the samples of both."""
        return tuple(torch.cat(pair) for pair in zip(first, second))

    @torch.no_grad()
    def apply_change(self, ids: Tensor, rows: Tensor) -> None:  # type: ignore[override]
        """Update rows in place: a loss reads copies, so that its backward pass does not need them."""
        positions = self.positions(ids)
        if self.momentum:
            rows = F.normalize(self.momentum * self.rows[positions] + (1 - self.momentum) * rows, dim=-1)
        self.rows[positions] = rows

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        for name in ("ids", "rows"):  # take the stored shape and type: the number of samples is not known before a run
            stored = state_dict.get(f"{prefix}{name}")
            if stored is not None:
                setattr(self, name, stored.new_empty(stored.shape, device=self.ids.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def extra_repr(self) -> str:
        """Return the momentum."""
        return f"momentum={self.momentum}"
