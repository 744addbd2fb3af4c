"""The tiled log-sum-exp against torch.logsumexp over the whole matrix, in float64."""

import pytest
import torch

from ssl_losses.similarity import logsumexp as module
from ssl_losses.similarity import tiles
from ssl_losses.similarity.logsumexp import logsumexp, self_logsumexp, two_way_logsumexp


def random_rows(n, seed=0):
    return torch.randn(n, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def whole(queries, keys, scale, excluded):
    return (queries @ keys.T * scale).scatter(1, excluded, -torch.inf).logsumexp(1)


def assert_same(found, expected, inputs):
    """Compare values and gradients, with weights of both signs, to 1e-10 of the largest entry."""
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    weights = torch.linspace(-1, 1, len(found), dtype=torch.float64)
    for ours, theirs in zip(*(torch.autograd.grad(value @ weights, inputs) for value in (found, expected))):
        assert (ours - theirs).abs().max() <= 1e-10 * theirs.abs().max()


@pytest.fixture(params=[3, 4, 100])
def tile_rows(request, monkeypatch):
    """Eleven rows in four tiles with a rest, in three, and in one."""
    monkeypatch.setitem(tiles.TILE_ROWS, "cpu", request.param)


@pytest.fixture(params=[2.5, 1000.0])
def scale(request):
    """Exponents small enough to be summed as they are, and exponents that need a running maximum."""
    assert module._all_small(random_rows(11), random_rows(7, seed=1), request.param) == (request.param < 10)
    return request.param


@pytest.mark.usefixtures("tile_rows")
@pytest.mark.parametrize("excluded", [0, 1, 2])
def test_value_and_gradients_are_those_of_the_whole_matrix(excluded, scale):
    queries, keys = random_rows(11), random_rows(7, seed=1)
    left_out = torch.arange(11 * excluded).view(11, excluded) % 7
    found = logsumexp(queries, keys, scale, left_out)
    assert_same(found, whole(queries, keys, scale, left_out), (queries, keys))


@pytest.mark.usefixtures("tile_rows")
def test_half_of_the_tiles_are_enough_for_rows_among_themselves(scale):
    z = random_rows(12)
    partners = torch.arange(12).view(2, 6).flip(0).flatten()
    left_out = torch.stack([torch.arange(12), partners], dim=1)
    assert_same(self_logsumexp(z, scale, left_out), whole(z, z, scale, left_out), (z,))


@pytest.mark.usefixtures("tile_rows")
def test_one_pass_over_the_tiles_is_enough_for_both_ways(scale):
    a, b = random_rows(11), random_rows(11, seed=1)
    own = torch.arange(11)[:, None]
    found = torch.cat(two_way_logsumexp(a, b, scale, own))
    assert_same(found, torch.cat([whole(a, b, scale, own), whole(b, a, scale, own)]), (a, b))


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_tile_that_is_left_out_as_a_whole_adds_nothing(monkeypatch, scale):
    monkeypatch.setitem(tiles.TILE_ROWS, "cpu", 2)
    z = random_rows(6)
    left_out = torch.tensor([[0, 1]]).repeat(6, 1)  # the first tile of every row
    assert_same(logsumexp(z, z, scale, left_out), whole(z, z, scale, left_out), (z,))


def test_keys_that_want_no_gradient_get_none():
    queries, keys = random_rows(4), random_rows(6, seed=1).detach()
    none = torch.empty(4, 0, dtype=torch.int64)
    assert_same(logsumexp(queries, keys, 1.0, none), whole(queries, keys, 1.0, none), (queries,))


def test_float32_is_near_float64_for_the_largest_exponents():
    """Oracle: float64. Rows of length 1 at the limit of 60 bits, a temperature of 0.024."""
    z = torch.nn.functional.normalize(random_rows(40).detach(), dim=1)
    scale = 60 / module.LOG2_E * 0.999
    own = torch.arange(40)[:, None]
    assert module._all_small(z.float(), z.float(), scale)
    torch.testing.assert_close(
        self_logsumexp(z.float(), scale, own).double(), whole(z, z, scale, own), rtol=1e-5, atol=0
    )


@pytest.mark.parametrize("function", [self_logsumexp, logsumexp, two_way_logsumexp])
def test_second_derivative_raises(function):
    z = random_rows(4)
    rows = (z,) if function is self_logsumexp else (z, z)
    value = function(*rows, 1.0, torch.arange(4)[:, None])
    (gradient,) = torch.autograd.grad(value[0].sum(), z, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiable once"):
        gradient.sum().backward()
