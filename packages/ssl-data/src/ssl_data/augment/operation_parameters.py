"""Parameters of the operations that extend the engine, for a batch of samples on any device."""

import torch
from torch import Tensor

from ssl_data.augment.view_spec import ViewSpec

_M0, _M1, _W0, _W1, _LOW = 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85, 0xFFFFFFFF  # as in ssl_data.augment.rng


def draw_parameters(spec: ViewSpec, keys: Tensor) -> list[dict[str, Tensor]]:
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
