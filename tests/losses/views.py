"""Two views of 16 samples for the tests of single losses."""

import torch
from torch import Tensor


def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(16, 5, generator=generator, dtype=torch.float64)
    return a, a + 0.5 * torch.randn(16, 5, generator=generator, dtype=torch.float64)
