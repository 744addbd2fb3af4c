"""Normalisation of columns to length 1 over the global batch."""

import torch
from torch import Tensor

from ssl_losses.moments import mean_square, total_rows

SMALLEST_MEAN_SQUARE = 1e-12  # below it the entries are 1e-6, at the size of float32's rounding errors


def unit_columns(z: Tensor) -> Tensor:
    """Return ``(..., N, D)`` with columns of length 1 over all ranks' rows; a zero column stays zero and gets no gradient."""
    square = mean_square(z)
    square = square.masked_fill(square < SMALLEST_MEAN_SQUARE, torch.inf)  # before the root: its slope at 0 is infinite
    return z / (square * total_rows(z)).sqrt()
