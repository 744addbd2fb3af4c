"""Counter-based random numbers: Philox 4x32-10 (Salmon, Moraes, Dror & Shaw 2011, https://doi.org/10.1145/2063384.2063405).

A number is a pure function of a key and a counter; there is no state to share between threads or to save. Written by hand since
numpy's Philox is 4x64 with a state for each generator, which would be built anew for each view, and numba cannot call torch's.
"""

import math

import numpy as np

from ssl_data.augment.jit import compiled

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _32 = np.uint64(0xFFFFFFFF), np.uint64(32)
_UNIT = 1.0 / 16777216.0  # of 24 bits


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
def words(seed, epoch, index, view, block):
    """Return four random words of 32 bits, for block number ``block`` of one view of one sample.

    Key: the seed (64 bits). Counter: index (64 bits), epoch (32 bits), view (12 bits) and block (20 bits).
    """
    s, i = np.uint64(seed), np.uint64(index)
    place = ((np.uint64(view) << np.uint64(20)) | np.uint64(block)) & _LOW
    return philox(i & _LOW, i >> _32, np.uint64(epoch) & _LOW, place, s & _LOW, s >> _32)


@compiled
def uniforms(seed, epoch, index, view, block):
    """Return four numbers in [0, 1) with 24 bits each, from the words of the same place."""
    a, b, c, d = words(seed, epoch, index, view, block)
    shift = np.uint64(8)
    return (
        np.float64(a >> shift) * _UNIT,
        np.float64(b >> shift) * _UNIT,
        np.float64(c >> shift) * _UNIT,
        np.float64(d >> shift) * _UNIT,
    )


@compiled
def normals(key, block):
    """Return four standard normal numbers (Box & Muller 1958) for a key of 64 bits and the number of the block."""
    k, n = np.uint64(key), np.uint64(block)
    a, b, c, d = philox(n & _LOW, n >> _32, np.uint64(0), np.uint64(0), k & _LOW, k >> _32)
    shift = np.uint64(8)
    r0 = math.sqrt(-2.0 * math.log(1.0 - np.float64(a >> shift) * _UNIT))
    r1 = math.sqrt(-2.0 * math.log(1.0 - np.float64(c >> shift) * _UNIT))
    t0, t1 = 2.0 * math.pi * _UNIT * np.float64(b >> shift), 2.0 * math.pi * _UNIT * np.float64(d >> shift)
    return r0 * math.cos(t0), r0 * math.sin(t0), r1 * math.cos(t1), r1 * math.sin(t1)
