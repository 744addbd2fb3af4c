"""An operation of the user on whole batches."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from ssl_data.batch import Batch

BATCH = 2**12 - 1  # in the place of a view's number, so that no view has the seed of a batch


def transformed(
    batches: Iterable[Batch], function: Callable[[Batch, torch.Generator], Batch], seeds: Iterable[int]
) -> Iterator[Batch]:
    """Yield ``function(batch, generator)`` of each batch, with a generator on its device that has the next seed.

    Raises
    ------
    ValueError
        If the function does not return a batch: a list of views, labels and indices.
    """
    for batch, seed in zip(batches, seeds):
        device = batch[0][0].device
        result = function(batch, torch.Generator(device).manual_seed(seed))
        parts = result if isinstance(result, tuple) else ()
        if (
            len(parts) != len(batch)
            or not isinstance(parts[0], list)
            or not all(isinstance(v, Tensor) for v in parts[0])
        ):
            raise ValueError(
                f"batch_transform returned {_named(result)}: expected (views, labels, indices), views a list of tensors, as it "
                "was given"
            )
        yield result


def _named(result: object) -> str:
    """Return the type of a result, and those of the parts of a tuple."""
    parts = f" ({', '.join(type(part).__name__ for part in result)})" if isinstance(result, tuple) else ""
    return f"a {type(result).__name__}{parts}"
