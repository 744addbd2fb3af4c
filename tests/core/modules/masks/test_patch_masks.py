"""Masks over the patches of a ViT."""

import pytest
import torch
from scipy import stats

from ssl_core.modules.masks.multi_block import multi_block_mask
from ssl_core.modules.masks.patch_masks import (
    block_mask,
    inverse_block_mask,
    masked_ratios,
    num_masked,
    random_mask,
    random_subset,
    split_mask,
    view_ids,
)
from ssl_core.modules.random_numbers import Stream, uniform
from ssl_losses.ops.splitmix64 import splitmix64

GRID = (14, 14)
IDS = torch.arange(200)
DRAWS = {
    "random": lambda ids, seed=0, epoch=0: random_mask(ids, GRID, 0.75, seed, epoch),
    "block": lambda ids, seed=0, epoch=0: block_mask(ids, GRID, 0.4, seed, epoch),
    "block of a ratio per sample": lambda ids, seed=0, epoch=0: block_mask(
        ids, GRID, masked_ratios(ids, 0.1, 0.5, 0.5, seed, epoch), seed, epoch
    ),
    "inverse block": lambda ids, seed=0, epoch=0: inverse_block_mask(ids, GRID, 0.65, seed, epoch),
    "context": lambda ids, seed=0, epoch=0: multi_block_mask(ids, GRID, seed, epoch).context,
    "subset": lambda ids, seed=0, epoch=0: random_subset(ids[:, None] * 0 + torch.arange(50), ids, 9, seed, epoch),
    "targets": lambda ids, seed=0, epoch=0: multi_block_mask(ids, GRID, seed, epoch).targets,
}
draws = pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)


@draws
def test_mask_depends_on_seed_epoch_and_id_alone(draw):
    """So that ranks, batch size and resumption do not change it."""
    whole = draw(IDS)
    assert torch.equal(torch.cat([draw(IDS[:64]), draw(IDS[64:])]), whole)
    assert torch.equal(draw(IDS.flip(0)), whole.flip(0))
    assert torch.equal(draw(IDS[7:8])[0], whole[7])
    for other in (draw(IDS, epoch=1), draw(IDS, seed=1), draw(IDS + 200)):
        assert other.shape != whole.shape or (other != whole).flatten(1).any(1).float().mean() > 0.6


def test_uniform_is_splitmix64():
    """Oracle: the published outputs of SplitMix64 for the seed 1234567 (Rosetta Code)."""
    states = 1234567 + torch.arange(3) * -0x61C8864680B583EB
    found = [int(number) % 2**64 for number in splitmix64(states)]
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_uniform_numbers_are_uniform_and_uncorrelated():
    """Oracle: the Kolmogorov-Smirnov test of scipy."""
    numbers = uniform(torch.arange(500), 196, 3, 5, Stream.MASK)
    assert stats.kstest(numbers.flatten().numpy(), "uniform").pvalue > 0.001
    for shifted in (numbers.roll(1, 0), numbers.roll(1, 1), uniform(torch.arange(500), 196, 3, 6, Stream.MASK)):
        assert abs(torch.corrcoef(torch.stack([numbers.flatten(), shifted.flatten()]))[0, 1]) < 0.02


@pytest.mark.parametrize("grid", [(14, 14), (4, 4), (8, 12), (1, 6)])
@pytest.mark.parametrize("ratio", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("draw", [random_mask, block_mask, inverse_block_mask])
def test_every_row_has_the_same_number_of_masked_patches(draw, grid, ratio):
    mask = draw(IDS, grid, ratio, 0, 0)
    assert mask.shape == (200, grid[0] * grid[1])
    assert set(mask.sum(1).tolist()) == {num_masked(grid, ratio)}


def test_split_indices_restore_the_order():
    mask = random_mask(IDS, GRID, 0.75, 0, 0)
    keep, drop, inverse = split_mask(mask, 147)
    assert not mask.gather(1, keep).any()
    assert mask.gather(1, drop).all()
    assert torch.equal(keep, keep.sort(1).values)
    assert torch.equal(torch.cat([keep, drop], 1).gather(1, inverse), torch.arange(196).expand(200, -1))


@pytest.mark.parametrize("ratio", [-0.1, 1.0])
def test_ratio_outside_its_range_is_an_error(ratio):
    with pytest.raises(ValueError, match=rf"ratio={ratio}: expected a number in \[0, 1\)"):
        random_mask(IDS, GRID, ratio, 0, 0)


def test_patches_are_masked_equally_often():
    """A random mask and a rolled inverse block favour no patch; blocks favour the middle."""
    many = torch.arange(4000)
    for draw, ratio in ((random_mask, 0.75), (inverse_block_mask, 0.65)):
        share = draw(many, GRID, ratio, 0, 0).float().mean(0)
        assert (share - ratio).abs().max() < 5 * (ratio * (1 - ratio) / 4000) ** 0.5 + 0.01


def test_blocks_are_connected():
    """A masked patch of a block has more masked neighbours than one of a random mask."""

    def neighbours(mask):
        image = mask.view(-1, *GRID).float()
        right, down = (image[:, :, 1:] * image[:, :, :-1]).mean(), (image[:, 1:] * image[:, :-1]).mean()
        return float((right + down) / 2 / mask.float().mean())

    assert neighbours(random_mask(IDS, GRID, 0.4, 0, 0)) == pytest.approx(0.4, abs=0.02)
    assert neighbours(block_mask(IDS, GRID, 0.4, 0, 0)) > 0.75
    assert neighbours(~inverse_block_mask(IDS, GRID, 0.6, 0, 0)) > 0.75


def test_ratio_of_each_sample_is_kept():
    ratios = masked_ratios(IDS, 0.1, 0.5, 0.5, 0, 0)
    assert torch.equal(block_mask(IDS, GRID, ratios, 0, 0).sum(1), (ratios * 196).round().long())
    assert 0.35 < (ratios > 0).float().mean() < 0.65
    assert ratios[ratios > 0].min() >= 0.1
    assert ratios.max() < 0.5


@pytest.mark.parametrize("epoch", range(8))
def test_multi_block_mask_has_the_sizes_of_i_jepa(epoch):
    """Oracle: the ranges of the paper. Targets are rectangles, and the context has none of their patches."""
    context, targets = multi_block_mask(IDS, GRID, 0, epoch)
    assert 0.13 <= targets.shape[2] / 196 <= 0.23
    row, column = targets // 14, targets % 14
    height, width = (int((x.amax(2) - x.amin(2))[0, 0]) + 1 for x in (row, column))
    assert ((row.amax(2) - row.amin(2) + 1) * (column.amax(2) - column.amin(2) + 1) == targets.shape[2]).all()
    assert 0.6 <= height / width <= 1.8
    assert (targets.sort(2).values.diff(dim=2) > 0).all()
    assert not (context[:, :, None] == targets.flatten(1)[:, None, :]).any()
    assert 0.1 < context.shape[1] / 196 < 0.75


def test_tiny_grid_still_has_a_context():
    context, targets = multi_block_mask(IDS, (4, 4), 0, 0)
    assert context.shape[1] >= 1
    assert targets.shape[2] >= 1


def test_ids_of_views_are_all_different():
    ids = view_ids(IDS, 3).view(3, 200)
    assert ids.unique().numel() == 600
    assert torch.equal(view_ids(IDS[5:9], 3).view(3, 4), ids[:, 5:9])


def test_random_subset_takes_each_index_equally_often_and_once():
    drop = torch.arange(100, 120).expand(2000, 20)
    chosen = random_subset(drop, torch.arange(2000), 5, seed=0, epoch=0)
    assert (chosen.diff(dim=1) > 0).all()
    counts = torch.bincount(chosen.flatten() - 100, minlength=20)
    assert stats.chisquare(counts.numpy()).pvalue > 0.001
