"""A queue of the embeddings of earlier batches."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ssl_losses.components.accumulation import AccumulatedState, Change
from ssl_losses.distributed import gather_with_gradient
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.precision import widened


class Queue(AccumulatedState):
    """The last ``size`` rows: first in, first out.

    It starts empty and grows; it never holds rows that are not embeddings. Its one buffer ``rows``, ``(K, D)`` with K at most
    ``size``, the oldest row first, is in the ``state_dict`` and the same on all ranks. Every update makes a new tensor (one
    copy of the queue), because a loss may still need the old one in its backward pass.

    Parameters
    ----------
    size : int
        Rows to keep, over all ranks. A batch need not divide it, and of a larger batch the last rows stay.

    Examples
    --------
    >>> queue = Queue(size=3)
    >>> queue.update(torch.tensor([[1.0], [2.0]]))
    >>> queue.update(torch.tensor([[3.0], [4.0]]))
    >>> queue.rows.flatten().tolist()
    [2.0, 3.0, 4.0]
    """

    rows: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"queue_size must be at least 1, got {size}; the papers take 65536 to 131072")
        self.size = size
        self.register_buffer("rows", torch.empty(0, 0))

    @torch.no_grad()
    def update(self, rows: Tensor) -> None:
        """Put in the rows ``(N, D)`` of all ranks, in the order of the ranks; each must call with the same shape."""
        self.change_state(gather_with_gradient(rows)[-self.size :])

    def enqueue(self, embeddings: Tensor) -> None:
        """Normalise the embeddings ``(N, D)`` of all ranks and put them in."""
        self.update(unit_rows(*widened((embeddings.detach(),))))

    def merge_changes(self, first: Change, second: Change) -> Change:
        """Return the rows of both, of which a queue of this size keeps the last ones."""
        return (torch.cat([*first, *second])[-self.size :],)

    @torch.no_grad()
    def apply_change(self, new: Tensor) -> None:  # type: ignore[override]
        """Put in the rows ``(G, D)``."""
        if len(self.rows) and new.shape[1] != self.rows.shape[1]:
            raise ValueError(f"the queue holds rows of D={self.rows.shape[1]}, got D={new.shape[1]}; start a new queue")
        kept = self.rows[max(0, len(self.rows) + len(new) - self.size) :]
        self.rows = torch.cat(widened((kept, new) if len(kept) else (new, new[:0])))

    def contents(self, like: Tensor) -> Tensor:
        """Return the rows, ``(0, D)`` like the embeddings ``(N, D)`` if there are none yet."""
        return (
            self.rows if len(self.rows) or not isinstance(like, Tensor) else like.detach()[:0]
        )  # the loss reports the type

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        stored = state_dict.get(f"{prefix}rows")
        if stored is not None:  # take its shape and type; a longer one is then an error
            self.rows = stored.new_empty((min(len(stored), self.size), *stored.shape[1:]), device=self.rows.device)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def extra_repr(self) -> str:
        """Return the size."""
        return f"size={self.size}"


def problem_with_queue(queue: Tensor, embeddings: Tensor) -> str | None:
    """Return what is wrong with a queue ``(K, D)`` for embeddings ``(N, D)``, if anything."""
    if queue.ndim != 2 or queue.shape[1:] != embeddings.shape[1:]:
        return (
            f"the queue must be (K, D) with the D of the embeddings {tuple(embeddings.shape)}, got shape "
            f"{tuple(queue.shape)}; start a new queue where D has changed"
        )
    if not queue.is_floating_point():
        return f"the queue must be floating point, got {queue.dtype}; queue.float() converts"
    return None
