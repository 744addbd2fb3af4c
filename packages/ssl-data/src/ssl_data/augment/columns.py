"""The parameters of a view as tensors: one column per name."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_data.augment.operation_parameters import draw_parameters
from ssl_data.augment.sampling import PARAMETERS
from ssl_data.augment.view_spec import ViewSpec

Columns = dict[str, Tensor]
_TYPES = {"f": torch.float64, "i": torch.int64, "u": torch.int64, "b": torch.bool}  # of unsigned numbers the bits


def table(parameters: NDArray[np.void]) -> Tensor:
    """Return rows of :data:`ssl_data.augment.sampling.PARAMETERS` as they lie in memory, ``(n, bytes) uint8``: not a copy."""
    return torch.from_numpy(parameters.view(np.uint8).reshape(len(parameters), PARAMETERS.itemsize))


CROP = ("top", "left", "height", "width", "flip")


def crops(parameters: Columns) -> Tensor:
    """Return the crop of each view, ``(n, 5) float32``: the columns of :data:`CROP`."""
    return torch.stack([parameters[name].float() for name in CROP], dim=1)


def columns(rows: Tensor) -> Columns:
    """Return the columns of a :func:`table`, ``(n,)`` each, with the meaning that :mod:`ssl_data.augment.sampling` gives.

    They are float64; ``order`` and ``noise_key`` int64; ``flip``, ``grayscale`` and ``solarize`` bool.
    """
    found = {}
    for name in PARAMETERS.names or ():
        kind, offset = PARAMETERS.fields[name][:2]  # type: ignore[index]
        found[name] = rows[:, offset : offset + kind.itemsize].view(_TYPES[kind.kind])[:, 0]
    return found


def view_columns(rows: Tensor, spec: ViewSpec) -> Columns:
    """Return the columns of a :func:`table`, and those of the operations of the view."""
    found = columns(rows)
    for drawn in draw_parameters(spec, found["noise_key"]):
        found |= drawn
    return found
