"""Random numbers by counting: Philox 4x32-10 (Salmon, Moraes, Dror & Shaw 2011, https://doi.org/10.1145/2063384.2063405).

A number is a pure function of a key and a counter; there is no state to share between threads or to save.
"""

import math

import numpy as np

from ssl_data.compiled import compiled

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _32 = np.uint64(0xFFFFFFFF), np.uint64(32)


@compiled
def philox(c0, c1, c2, c3, k0, k1):
    """Return four random words for a counter of four and a key of two 32-bit words, all given and returned as uint64."""
    for _ in range(10):
        product0, product1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (
            ((product1 >> _32) ^ c1 ^ k0) & _LOW,
            product1 & _LOW,
            ((product0 >> _32) ^ c3 ^ k1) & _LOW,
            product0 & _LOW,
        )
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@compiled
def uniforms(seed, epoch, index, view, block):
    """Return four numbers in [0, 1) with 24 bits each, for block number ``block`` of one view of one sample.

    Key: the seed (64 bits). Counter: index (64 bits), epoch (32 bits), view (12 bits) and block (20 bits).
    """
    s, i = np.uint64(seed), np.uint64(index)
    a, b, c, d = philox(
        i & _LOW,
        i >> _32,
        np.uint64(epoch) & _LOW,
        ((np.uint64(view) << np.uint64(20)) | np.uint64(block)) & _LOW,
        s & _LOW,
        s >> _32,
    )
    shift = np.uint64(8)
    unit = 1.0 / 16777216.0
    return (
        np.float64(a >> shift) * unit,
        np.float64(b >> shift) * unit,
        np.float64(c >> shift) * unit,
        np.float64(d >> shift) * unit,
    )


@compiled
def normals(seed, epoch, index, view, block):
    """Return four standard normal numbers (Box & Muller 1958)."""
    a, b, c, d = uniforms(seed, epoch, index, view, block)
    r0, r1 = math.sqrt(-2.0 * math.log(1.0 - a)), math.sqrt(-2.0 * math.log(1.0 - c))
    return (
        r0 * math.cos(2.0 * math.pi * b),
        r0 * math.sin(2.0 * math.pi * b),
        r1 * math.cos(2.0 * math.pi * d),
        r1 * math.sin(2.0 * math.pi * d),
    )
