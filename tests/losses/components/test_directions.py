"""Random directions that are a pure function of seed and step."""

import pytest
import torch

from ssl_losses.components.directions import RandomDirections, _hashed, random_directions


def test_hash_is_splitmix64():
    """Oracle: the first numbers of the reference implementation (prng.di.unimi.it/splitmix64.c) from seed 0."""
    reference = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [number % 2**64 for number in _hashed(torch.arange(3)).tolist()] == reference


def test_directions_are_uniform_on_the_sphere():
    """Archimedes: in three dimensions each coordinate is uniform from -1 to 1. Bound: Kolmogorov and Smirnov's at 1e-4."""
    directions = random_directions(3, 20_000, seed=1, step=torch.tensor(7))
    torch.testing.assert_close(directions.norm(dim=0), torch.ones(20_000))
    uniform = (torch.arange(20_000) + 0.5) / 10_000 - 1
    for coordinate in directions:
        assert (coordinate.sort().values - uniform).abs().max() / 2 < 2.23 / 20_000**0.5
    assert (directions @ directions.T / 20_000 - torch.eye(3) / 3).abs().max() < 0.01


def test_directions_are_a_function_of_seed_and_step():
    drawn = {
        (seed, step): random_directions(64, 32, seed, torch.tensor(step))
        for seed in (0, 1, -3)
        for step in (0, 1, 10**9)
    }
    for a in drawn:
        assert torch.equal(drawn[a], random_directions(64, 32, a[0], torch.tensor(a[1])))
        for b in drawn:
            if a != b:
                assert (drawn[a] * drawn[b]).sum(0).abs().mean() < 0.2  # 64 dimensions: 0.1 on average


def test_torch_s_generator_has_no_part_in_it():
    before = torch.get_rng_state()
    random_directions(4, 4, 0, torch.tensor(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_loaded_step_continues():
    one, other = RandomDirections(4, seed=5), RandomDirections(4, seed=5)
    views = [torch.zeros(2, 3)]
    for _ in range(3):
        one.advance()
    assert not torch.equal(one(views), other(views))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(views), other(views))


def test_no_directions_raise():
    with pytest.raises(ValueError, match="num_directions must be at least 1, got 0"):
        RandomDirections(0)
