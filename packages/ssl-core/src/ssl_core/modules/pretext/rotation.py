"""Rotation of images by quarter turns, on the device."""

import torch
from torch import Tensor

NUM_ROTATIONS = 4


def quarter_turns(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return all images at 0, 90, 180 and 270 degrees, counter-clockwise, and the numbers of their turns.

    Pixels are moved, not interpolated: nothing but the content of an image tells its rotation. Views are cropped and flipped
    before, so that no border is filled.

    Parameters
    ----------
    images : Tensor
        ``(N, C, S, S)`` float.

    Returns
    -------
    images, turns : Tensor
        ``(4N, C, S, S)``, first all images at 0 degrees; and ``(4N,) int64``, 0 to 3.
    """
    turned = torch.cat([torch.rot90(images, turns, (2, 3)) for turns in range(NUM_ROTATIONS)])
    return turned, torch.arange(NUM_ROTATIONS, device=images.device).repeat_interleave(len(images))
