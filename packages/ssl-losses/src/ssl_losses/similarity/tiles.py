"""Tiles: a matrix of products of rows, one block at a time."""

from collections.abc import Iterator

import torch
from torch import Tensor

# rows of a tile by device: 1 MiB of float32 stays in a core's cache; a GPU needs larger matrices, 64 MiB
TILE_ROWS = {"cpu": 512, "other": 4096}


def blocks(z: Tensor, first: int = 0, size: int | None = None) -> Iterator[slice]:
    """Return the slices of the rows of ``z``, one tile long each, or ``size``."""
    size = size or TILE_ROWS.get(z.device.type, TILE_ROWS["other"])
    return (slice(start, min(start + size, len(z))) for start in range(first, len(z), size))


def no_keys(queries: Tensor) -> Tensor:
    """Return what ``excluded`` is where no query leaves out a key, ``(M, 0)`` int64."""
    return torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)


def products(queries: Tensor, keys: Tensor, rows: slice, columns: slice, excluded: Tensor, scale: float) -> Tensor:
    """Return one tile of scaled products, ``-inf`` where a row leaves the column out."""
    tile = (queries[rows] if scale == 1 else queries[rows] * scale) @ keys[columns].T
    if tile.shape[1] == len(keys):  # all that a row leaves out is in this tile
        return tile.scatter_(1, excluded[rows], -torch.inf)
    places = excluded[rows] - columns.start
    inside = (places >= 0) & (places < tile.shape[1])
    if tile.device.type == "cpu":
        row, which = inside.nonzero(as_tuple=True)
        if len(row):
            tile[row, places[row, which]] = -torch.inf
        return tile
    for place, here in zip(places.unbind(1), inside.unbind(1)):
        # a place outside of the tile writes back what it has read: no branch, so that nothing waits for a GPU
        index = place.clamp(0, tile.shape[1] - 1).unsqueeze(1)
        tile.scatter_(1, index, tile.gather(1, index).masked_fill(here.unsqueeze(1), -torch.inf))
    return tile
