"""Base class of operations that extend the engine."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from ssl_data.augment.view_spec import ViewSpec

_M0, _M1, _W0, _W1, _LOW = 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85, 0xFFFFFFFF  # as in ssl_data.augment.rng


@dataclass(frozen=True)
class Operation:
    """An operation on float images in [0, 1], after the noise and before the normalisation.

    The fields of a subclass are its options. Its parameters are drawn from uniform numbers, which are a function of (seed,
    epoch, index, view) and of its place in ``ViewSpec.operations``.
    """

    num_uniforms: ClassVar[int]  # that one sample needs
    moves_pixels: ClassVar[bool] = False  # then the view is no longer a box of the image

    def draw(self, u: Tensor, size: int) -> dict[str, Tensor]:
        """Return the parameters of n samples by name, ``(n,)`` each, on the device of ``u``.

        Parameters
        ----------
        u : Tensor
            ``(n, num_uniforms) float64`` in [0, 1).
        size : int
            Height and width of the view in pixels.
        """
        raise NotImplementedError

    def reference(self, x: Tensor, p: dict[str, Any]) -> Tensor:
        """Return one image ``(C, size, size) float32`` changed: the definition, by functions of torchvision."""
        raise NotImplementedError

    def cpu(self, x: NDArray[np.float32], p: dict[str, NDArray[Any]]) -> None:
        """Change n images ``(n, size, size, C)`` in place, by a compiled function: threads run it at the same time."""
        raise NotImplementedError

    def gpu(self, x: Tensor, p: dict[str, Tensor]) -> Tensor:
        """Return n images ``(n, C, size, size)`` changed, by operations on the whole batch."""
        raise NotImplementedError


def draw_parameters(spec: "ViewSpec", keys: Tensor) -> list[dict[str, Tensor]]:
    """Return the parameters of each operation of a view.

    Parameters
    ----------
    spec : ViewSpec
        With operations.
    keys : Tensor
        ``(n,) int64``: the column ``noise_key`` of the view's parameters, 64 random bits of each sample.
    """
    return [
        operation.draw(_uniforms(keys, number, operation.num_uniforms), spec.size)
        for number, operation in enumerate(spec.operations)
    ]


def _uniforms(keys: Tensor, number: int, count: int) -> Tensor:
    """Return ``(n, count) float64`` in [0, 1), of 24 bits each, for the operation at place ``number``."""
    blocks = torch.arange(-(-count // 4), device=keys.device).expand(len(keys), -1)
    zero = torch.zeros_like(blocks)
    key = keys[:, None]
    words = philox([blocks, zero, zero + number + 1, zero], key & _LOW, (key >> 32) & _LOW)  # the noise has 0 there
    return torch.stack([(word >> 8).double() / 16777216 for word in words], -1).flatten(1)[:, :count]


def philox(counter: list[Tensor], k0: Tensor, k1: Tensor) -> list[Tensor]:
    """Return the four words of :func:`ssl_data.augment.rng.philox`; the products of 32-bit words fill the signed 64 bits."""
    c0, c1, c2, c3 = counter
    for _ in range(10):
        product0, product1 = _M0 * c0, _M1 * c2
        high0, high1 = (product0 >> 32) & _LOW, (product1 >> 32) & _LOW
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, product1 & _LOW, high0 ^ c3 ^ k1, product0 & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return [c0, c1, c2, c3]
