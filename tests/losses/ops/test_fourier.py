"""Sums of cosines and sines at evenly spaced frequencies."""

import torch

from ssl_losses.ops.fourier import fourier_sums


def frequencies(x, spacing, number):
    """The same, term by term."""
    angles = torch.arange(number, dtype=x.dtype)[:, None, None] * spacing * x
    return torch.stack([angles.cos().sum(-2), angles.sin().sum(-2)], dim=-1)


def test_values_and_gradients_are_those_of_every_cosine_and_sine():
    """Oracles: torch's cosine and sine of each angle, and gradcheck."""
    x = torch.randn(12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    torch.testing.assert_close(fourier_sums(x, 0.2, 17), frequencies(x, 0.2, 17))
    assert torch.autograd.gradcheck(lambda x: fourier_sums(x, 0.2, 5), (x,))


def test_powers_lose_no_digits_that_float32_has():
    x = torch.randn(512, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    torch.testing.assert_close(
        fourier_sums(x.float(), 0.1875, 17).double(), frequencies(x, 0.1875, 17), rtol=0, atol=2e-3
    )


def test_only_the_input_is_kept_for_the_backward_pass():
    kept = []
    x = torch.randn(64, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor.numel()) or tensor, lambda kept: kept
    ):
        fourier_sums(x, 0.2, 17).sum().backward()
    assert sum(kept) == x.numel()
