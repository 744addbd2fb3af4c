"""Patches of a jigsaw puzzle. Oracle: slices of the image; numpy's count of the Hamming distances."""

import itertools

import numpy as np
import pytest
import torch

from ssl_core.modules.pretext.jigsaw import (
    distant_permutations,
    jigsaw_patches,
    random_choices,
    random_orders,
    shuffled,
    standardised,
)

IDS = torch.tensor([4, 9, 70])


def images(height=33, width=36):
    return torch.arange(3 * 2 * height * width, dtype=torch.float32).view(3, 2, height, width)


def test_each_patch_is_cropped_from_its_own_cell():
    found = jigsaw_patches(images(), IDS, seed=1, epoch=2)  # cells of 11 x 12, patches of 9 x 10 pixels
    assert found.shape == (3, 9, 2, 9, 10)
    places = set()
    for image, patches in zip(images(), found):
        for number, patch in enumerate(patches):
            top, left = divmod(int(patch[0, 0, 0] - image[0, 0, 0]), 36)
            assert torch.equal(patch, image[:, top : top + 9, left : left + 10])
            assert 0 <= top - 11 * (number // 3) <= 2
            assert 0 <= left - 12 * (number % 3) <= 2
            places.add((top - 11 * (number // 3), left - 12 * (number % 3)))
    assert len(places) > 5


def test_patches_depend_on_seed_epoch_and_id_only():
    whole = jigsaw_patches(images(), IDS, seed=1, epoch=2)
    for n in range(3):
        part = slice(n, n + 1)
        assert torch.equal(jigsaw_patches(images()[part], IDS[part], seed=1, epoch=2), whole[part])
        assert torch.equal(random_orders(IDS[part], 1, 2), random_orders(IDS, 1, 2)[part])
        assert torch.equal(random_choices(IDS[part], 9, 1, 2), random_choices(IDS, 9, 1, 2)[part])
    for changed in ((0, 2), (1, 3)):
        assert not torch.equal(jigsaw_patches(images(), IDS, *changed), whole)
    assert torch.equal(random_orders(IDS, 1, 2).sort(dim=1).values, torch.arange(9).expand(3, 9))


def test_patches_are_resized_and_standardised():
    found = standardised(jigsaw_patches(images(), IDS, seed=1, epoch=2, size=16))
    assert found.shape == (3, 9, 2, 16, 16)
    torch.testing.assert_close(found.mean((2, 3, 4)), torch.zeros(3, 9), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.std((2, 3, 4), correction=0), torch.ones(3, 9))
    assert not standardised(torch.ones(1, 9, 3, 4, 4)).any()  # a constant patch is no division by zero


def test_shuffled_places_have_the_patches_of_the_order():
    patches = torch.arange(18).view(2, 9, 1)
    orders = torch.stack([torch.arange(9).flip(0), torch.arange(9)])
    assert torch.equal(shuffled(patches, orders)[:, :, 0], torch.stack([torch.arange(9).flip(0), torch.arange(9, 18)]))


def test_each_permutation_is_the_most_distant_of_all():
    """Algorithm 1 of the paper, by numpy: no other permutation has a larger mean distance from those before it."""
    found = distant_permutations(6).numpy()
    assert len({tuple(row) for row in found}) == 6
    every = np.array(list(itertools.permutations(range(9))), dtype=np.uint8)
    for count in range(1, 6):
        distances = sum((every != chosen).sum(1) for chosen in found[:count])
        assert (found[count] != found[:count]).sum() == distances.max()
    assert np.array_equal(distant_permutations(3).numpy(), found[:3])
    with pytest.raises(ValueError, match="num_permutations=1: expected 2 to 362880"):
        distant_permutations(1)
