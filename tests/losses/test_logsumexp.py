"""The tiled log-sum-exp against torch.logsumexp over the whole matrix, in float64."""

import pytest
import torch

from ssl_losses import tiles
from ssl_losses.logsumexp import logsumexp, self_logsumexp


def random_rows(n, seed=0):
    return torch.randn(n, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def whole(queries, keys, scale, excluded):
    return (queries @ keys.T * scale).scatter(1, excluded, -torch.inf).logsumexp(1)


@pytest.fixture(params=[3, 4, 100])
def tile_rows(request, monkeypatch):
    """Eleven rows in four tiles with a rest, in three, and in one."""
    monkeypatch.setitem(tiles.TILE_ROWS, "cpu", request.param)


@pytest.mark.usefixtures("tile_rows")
@pytest.mark.parametrize("excluded", [0, 1, 2])
def test_value_and_gradients_are_those_of_the_whole_matrix(excluded):
    queries, keys, scale = random_rows(11), random_rows(7, seed=1), 2.5
    left_out = torch.arange(11 * excluded).view(11, excluded) % 7
    weights = torch.linspace(-1, 1, 11, dtype=torch.float64)
    expected = whole(queries, keys, scale, left_out)
    expected_gradients = torch.autograd.grad(expected @ weights, (queries, keys))
    found = logsumexp(queries, keys, scale, left_out)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(torch.autograd.grad(found @ weights, (queries, keys)), expected_gradients):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("tile_rows")
def test_half_of_the_tiles_are_enough_for_rows_among_themselves():
    z, scale = random_rows(12), 3.0
    partners = torch.arange(12).view(2, 6).flip(0).flatten()
    left_out = torch.stack([torch.arange(12), partners], dim=1)
    weights = torch.linspace(-1, 1, 12, dtype=torch.float64)
    expected = whole(z, z, scale, left_out)
    found = self_logsumexp(z, scale, left_out)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    ours, theirs = (torch.autograd.grad(value @ weights, z)[0] for value in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_a_tile_that_is_left_out_as_a_whole_adds_nothing(monkeypatch):
    monkeypatch.setitem(tiles.TILE_ROWS, "cpu", 2)
    z = random_rows(6)
    left_out = torch.tensor([[0, 1]]).repeat(6, 1)  # the first tile of every row
    torch.testing.assert_close(logsumexp(z, z, 1.0, left_out), whole(z, z, 1.0, left_out))


def test_a_second_derivative_is_refused():
    z = random_rows(4)
    value = self_logsumexp(z, 1.0, torch.arange(4)[:, None]).sum()
    (gradient,) = torch.autograd.grad(value, z, create_graph=True)
    with pytest.raises(RuntimeError, match="has no derivative: losses in tiles are differentiable once"):
        gradient.sum().backward()
