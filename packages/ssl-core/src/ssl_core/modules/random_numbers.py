"""Random numbers that are a pure function of the seed, the epoch and the sample id.

The number of ranks, the batch size and the point of resumption do not change them, nor does the device.
"""

from enum import IntEnum

import torch
from torch import Tensor

from ssl_losses.ops.splitmix64 import shift_right, splitmix64


class Stream(IntEnum):
    """What the numbers are drawn for: each use has numbers of its own. A run that resumes needs the same ones again."""

    SUBSET = -1  # masked patches that CAPI predicts
    MASK = 0  # patches of a random mask, rectangles of a block mask; prefixes of AIM
    CUT = 1  # patches of the last rectangle of a block mask
    ROLL = 2  # cyclic shift of an inverse block mask
    BLOCK_SIZES = 3  # of I-JEPA
    BLOCK_PLACES = 4
    CONTEXT_CUT = 5
    MASK_RATIO = 6  # of iBOT
    PATCH_PLACES = 20  # of Jigsaw and PIRL
    PATCH_ORDER = 21
    NEGATIVES = 22  # of PIRL
    SHIFT = 100  # of the views of CMAE


def uniform(ids: Tensor, count: int, seed: int, epoch: int, stream: Stream) -> Tensor:
    """Return ``count`` numbers for each sample, uniform in [0, 1): ``(N, count) float32``, a function of the arguments alone.

    A counter is mixed by SplitMix64 (Steele, Lea & Flood 2014), in integers: every device gives the same numbers.
    """
    key = torch.tensor([seed, epoch, stream], dtype=torch.int64)
    state = torch.zeros((), dtype=torch.int64)
    for part in key:
        state = splitmix64(state ^ part)
    rows = splitmix64(ids.long() ^ state.to(ids.device))
    bits = splitmix64(rows[:, None] + torch.arange(count, device=ids.device))
    return shift_right(bits, 40).float() * 2.0**-24
