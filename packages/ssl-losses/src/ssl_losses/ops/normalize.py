"""Normalisation of rows and of columns to length 1."""

import torch
from torch import Tensor

from ssl_losses.ops.covariance import mean_square, total_rows

SHORTEST = 1e-12  # a row below this length has no direction that float32 could name
SMALLEST_MEAN_SQUARE = 1e-12  # below it the entries are 1e-6, at the size of float32's rounding errors


def unit_rows(z: Tensor) -> Tensor:
    """Return ``z / ‖z‖`` for each row of ``(N, D)``; a zero row stays zero and gets no gradient.

    Dividing by a small constant instead, as ``torch.nn.functional.normalize`` does, gives a zero row gradients of 1e12.
    """
    length = torch.linalg.vector_norm(z, dim=1, keepdim=True)
    return z / length.masked_fill(length < SHORTEST, torch.inf)


def unit_columns(z: Tensor) -> Tensor:
    """Return ``(..., N, D)`` with columns of length 1 over all ranks' rows; a zero column stays zero and gets no gradient."""
    square = mean_square(z)
    square = square.masked_fill(square < SMALLEST_MEAN_SQUARE, torch.inf)  # before the root: its slope at 0 is infinite
    return z / (square * total_rows(z)).sqrt()
