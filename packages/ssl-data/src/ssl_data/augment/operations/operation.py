"""Base class of operations that extend the engine."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Operation:
    """An operation on float images in [0, 1], after the noise and before the normalisation.

    The fields of a subclass are its options. Its parameters are drawn from uniform numbers, which are a function of (seed,
    epoch, index, view) and of its place in ``ViewSpec.operations``.
    """

    moves_pixels: ClassVar[bool] = False  # then the view is no longer a box of the image

    @property
    def num_uniforms(self) -> int:
        """Uniform numbers that one sample needs; usually a constant: ``num_uniforms: ClassVar[int] = 1``."""
        raise NotImplementedError

    def draw(self, u: Tensor, size: int) -> dict[str, Tensor]:
        """Return the parameters of n samples by name, ``(n, ...)`` each, on the device of ``u``.

        Parameters
        ----------
        u : Tensor
            ``(n, num_uniforms) float64`` in [0, 1).
        size : int
            Height and width of the view in pixels.
        """
        raise NotImplementedError

    def reference(self, x: Tensor, p: dict[str, Any]) -> Tensor:
        """Return one image ``(C, size, size) float32`` changed: the definition, by functions of torchvision.

        ``p`` has its parameters, as Python numbers where there is one of each name, else as tensors.
        """
        raise NotImplementedError

    def cpu(self, x: NDArray[np.float32], p: dict[str, NDArray[Any]]) -> None:
        """Change n images ``(n, size, size, C)`` in place, by a compiled function: threads run it at the same time."""
        raise NotImplementedError

    def gpu(self, x: Tensor, p: dict[str, Tensor]) -> Tensor:
        """Return n images ``(n, C, size, size)`` changed, by operations on the whole batch."""
        raise NotImplementedError
