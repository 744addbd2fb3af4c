"""Layouts of tensors, as the documentation writes them: ``(N, P, D)``."""

from torch import Tensor


def problem_with_layout(name: str, tensor: Tensor, layout: str) -> str | None:
    """Return what is wrong with a float tensor that should have the dimensions of a layout, if anything."""
    if tensor.ndim != layout.count(",") + 1 or 0 in tensor.shape:
        return f"{name} must be {layout} and not empty, got shape {tuple(tensor.shape)}"
    if not tensor.is_floating_point():
        return f"{name} must be floating point, got {tensor.dtype}; .float() converts"
    return None
