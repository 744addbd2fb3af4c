"""The nearest rows in tiles against torch.argmax of the whole matrix."""

import pytest
import torch

from ssl_losses.similarity import tiles
from ssl_losses.similarity.nearest import MAX_COLUMNS, nearest


@pytest.mark.parametrize("tile_rows", [3, 4, 100])
@pytest.mark.parametrize("excluded", [0, 1, 2])
def test_nearest_is_that_of_the_whole_matrix(monkeypatch, tile_rows, excluded):
    """Oracle: torch.argmax. Eleven rows in four tiles with a rest, in three, and in one."""
    monkeypatch.setitem(tiles.TILE_ROWS, "cpu", tile_rows)
    monkeypatch.setitem(MAX_COLUMNS, "cpu", tile_rows)
    generator = torch.Generator().manual_seed(0)
    queries, keys = (torch.randn(n, 5, generator=generator, dtype=torch.float64) for n in (11, 7))
    left_out = torch.arange(11 * excluded).view(11, excluded) % 7
    expected = (queries @ keys.T).scatter(1, left_out, -torch.inf).argmax(1)
    assert torch.equal(nearest(queries, keys, left_out), expected)


@pytest.mark.parametrize("tile_rows", [2, 100])
def test_of_equal_ones_it_is_the_first_that_is_not_left_out(monkeypatch, tile_rows):
    """So that one rank and many, with other tiles, choose the same."""
    monkeypatch.setitem(tiles.TILE_ROWS, "cpu", tile_rows)
    monkeypatch.setitem(MAX_COLUMNS, "cpu", tile_rows)
    same = torch.ones(6, 2)
    assert nearest(same, same, torch.arange(6).unsqueeze(1)).tolist() == [1, 0, 0, 0, 0, 0]


def test_row_of_infinities_has_an_index_in_range():
    """NaN is larger than nothing: a diverged row must not read outside of the keys."""
    queries = torch.full((2, 2), torch.nan)
    assert nearest(queries, torch.ones(3, 2), torch.empty(2, 0, dtype=torch.int64)).tolist() == [0, 0]
