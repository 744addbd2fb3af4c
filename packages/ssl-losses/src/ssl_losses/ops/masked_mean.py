"""The mean over the masked patches of the global batch."""

import torch
from torch import Tensor

from ssl_losses.distributed import all_reduce_with_gradient


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of ``values`` ``(N, P)`` where ``mask`` is True, over all ranks; 0 if it is True nowhere.

    A mean of the ranks' means would weigh a patch by how few others its rank has masked.
    """
    mask = mask.flatten(1)
    total, count = all_reduce_with_gradient(torch.stack([values.masked_fill(~mask, 0).sum(), mask.sum().to(values)]))
    return total / count.clamp(min=1)
