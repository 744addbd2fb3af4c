"""Memory for batches, taken again once nobody holds it."""

import weakref
from collections import defaultdict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

KEPT = 8  # blocks of one kind that wait to be used again
_Blocks = list[NDArray[np.generic]]


class Memory:
    """Gives tensors whose memory comes back by itself when the last that looks at it is gone: views, slices, numpy's arrays.

    Fresh memory costs a fifth of the work at 32 pixels: the system fills each page with zeros first.
    """

    def __init__(self) -> None:
        self._free: defaultdict[tuple[tuple[int, ...], torch.dtype], _Blocks] = defaultdict(list)

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return a tensor, float32 or bfloat16, with anything in it, whose memory nobody else holds."""
        free = self._free[shape, dtype]
        block = free.pop() if free else np.empty(shape, np.uint16 if dtype == torch.bfloat16 else np.float32)
        lent = block.view()  # an object of its own, which the tensor's storage keeps as long as it lives
        weakref.finalize(lent, _give_back, free, block).atexit = False
        return torch.from_numpy(lent).view(dtype)


def _give_back(free: _Blocks, block: NDArray[np.generic]) -> None:
    if len(free) < KEPT:
        free.append(block)
