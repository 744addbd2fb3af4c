"""Bases of the results: frozen dataclasses that print their numbers, and the shapes of their tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

MAX_ENTRIES = 12  # of a collection that is printed whole


class Result:
    """Base of the dataclasses that functions return. Printed are numbers, and of tensors dtype and shape."""

    def __repr__(self) -> str:
        parts = (f"{field.name}={_short(getattr(self, field.name))}" for field in fields(self))  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(parts)})"


@dataclass(frozen=True, eq=False, repr=False)
class ProbeResult(Result):
    """Result of a classifier on frozen features.

    Attributes
    ----------
    accuracy : float
        Top-1 on the test set, a fraction in 0..1.
    scores : Tensor
        ``(M, K)`` of the test samples, higher is more likely; float32, or float64 where the probe computes in it.
    """

    accuracy: float
    scores: Tensor


def _short(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping) and len(value) <= MAX_ENTRIES:
        return f"{{{', '.join(f'{_short(key)}: {_short(each)}' for key, each in value.items())}}}"
    if isinstance(value, tuple | list) and len(value) <= MAX_ENTRIES:
        return f"({', '.join(map(_short, value))})"
    if isinstance(value, Mapping | tuple | list):
        return f"<{len(value)} entries>"
    return repr(value)
