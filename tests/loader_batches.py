"""Comparison of the batches of loaders."""

import torch


def equal(a, b):
    """Return whether two lists of batches ``(views, labels, ids)`` are equal bit by bit."""
    return len(a) == len(b) and all(
        torch.equal(x[1], y[1]) and torch.equal(x[2], y[2]) and len(x[0]) == len(y[0]) > 0
        and all(torch.equal(u, v) for u, v in zip(x[0], y[0]))
        for x, y in zip(a, b)
    )  # fmt: skip


def together(ranks):
    """Join the batches of all ranks, step by step."""
    return [
        (
            [torch.cat(parts) for parts in zip(*(batch[0] for batch in step))],
            *(torch.cat([batch[part] for batch in step]) for part in (1, 2)),
        )
        for step in zip(*ranks, strict=True)
    ]
