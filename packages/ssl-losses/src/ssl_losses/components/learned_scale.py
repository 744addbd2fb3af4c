"""A scale, or bias, of logits that may be learned: a number, or a scalar tensor with a gradient."""

from torch import Tensor

from ssl_losses.checks import check_positive
from ssl_losses.distributed import mean_over_ranks


def on_all_ranks(option: float | Tensor, like: Tensor) -> Tensor:
    """Return a scalar of the embeddings' type whose gradient is the same on every rank.

    Each rank's own gradient is that of its rows. Averaged here, a learned scale stays the same on all ranks even where
    nobody averages it: a loss is easily left out of what ``DistributedDataParallel`` wraps.
    """
    if not isinstance(option, Tensor):
        return like.new_tensor(option)
    return mean_over_ranks(option.to(like.dtype))


def check_scale(**scales: float | Tensor) -> None:
    """Raise ``ValueError`` for a number that is not above 0; reading a tensor would wait for the device."""
    check_positive(**{name: scale for name, scale in scales.items() if not isinstance(scale, Tensor)})
