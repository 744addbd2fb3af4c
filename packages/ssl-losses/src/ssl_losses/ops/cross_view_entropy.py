"""Cross-entropy between views: each view predicts the targets of the other views of the sample."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_losses.distributed import mean_over_ranks


def cross_view_entropy(targets: Sequence[Tensor], logits: Sequence[Tensor]) -> Tensor:
    r"""Return the mean cross-entropy of all pairs of a target and the logits of **another** view, over the world.

    Parameters
    ----------
    targets : sequence of Tensor
        T probabilities ``(N, K)``, of the first T views.
    logits : sequence of Tensor
        V tensors ``(N, K)``; the first T are of the views that the targets are of, and skip their own.
    """
    losses, pairs = [], 0
    for view, prediction in enumerate(logits):
        others = [target for of_view, target in enumerate(targets) if of_view != view]
        if others:  # cross-entropy is linear in the target: one log-softmax for all of them
            losses.append(F.cross_entropy(prediction, torch.stack(others).sum(0)))
            pairs += len(others)
    return mean_over_ranks(torch.stack(losses).sum() / pairs)
