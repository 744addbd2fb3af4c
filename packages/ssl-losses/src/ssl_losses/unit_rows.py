"""Normalisation of rows to length 1."""

import torch
from torch import Tensor

SHORTEST = 1e-12  # a row below this length has no direction that float32 could name


def unit_rows(z: Tensor) -> Tensor:
    """Return ``z / ‖z‖`` for each row of ``(N, D)``; a zero row stays zero and gets no gradient.

    Dividing by a small constant instead, as ``torch.nn.functional.normalize`` does, gives a zero row gradients of 1e12.
    """
    length = torch.linalg.vector_norm(z, dim=1, keepdim=True)
    return z / length.masked_fill(length < SHORTEST, torch.inf)
