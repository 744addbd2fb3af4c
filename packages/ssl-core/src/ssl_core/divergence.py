"""A run that diverges stops, and says where."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ssl_core.errors import DivergedError
from ssl_core.progress import Progress


def refuse_non_finite(terms: Mapping[str, Tensor], progress: Progress, rank: int, samples: Tensor) -> None:
    """Raise if a term is not finite. Waits for the device.

    Raises
    ------
    DivergedError
        Naming the term, its value, epoch, batch, step, rank and the first samples of the batch.
    """
    for name, value in terms.items():
        if not torch.isfinite(value).all():
            raise DivergedError(
                f"{name} is {value.item()} at epoch {progress.epoch + 1}, batch {progress.batch}, step {progress.step}, "
                f"rank {rank}: the optimizer has not moved; samples {samples[:8].tolist()}...; a lower optim.lr, "
                "or optim.grad_max_norm, often helps"
            )
