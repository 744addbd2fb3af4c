"""Rotation by quarter turns. Oracle: torchvision, which rotates by interpolation."""

import torch
from torchvision.transforms.functional import InterpolationMode, rotate

from ssl_core.modules.pretext.rotation import quarter_turns


def test_pixels_of_all_four_rotations_are_those_of_torchvision():
    images = torch.randn(3, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    turned, turns = quarter_turns(images)
    assert turns.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    for image, number, original in zip(turned, turns, images.repeat(4, 1, 1, 1)):
        assert torch.equal(image, rotate(original, 90.0 * int(number), InterpolationMode.NEAREST))
        assert torch.equal(image.flatten().sort().values, original.flatten().sort().values)  # no border is filled
