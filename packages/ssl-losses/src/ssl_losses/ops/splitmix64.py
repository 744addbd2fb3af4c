"""Random bits as a function of a counter: the same on every device, without a generator.

SplitMix64 (Steele, Lea & Flood 2014, https://doi.org/10.1145/2660193.2660195). int64 wraps around as its uint64 does.
"""

from torch import Tensor

GOLDEN_RATIO = 0x9E3779B97F4A7C15 - 2**64
FIRST_FACTOR = 0xBF58476D1CE4E5B9 - 2**64
SECOND_FACTOR = 0x94D049BB133111EB - 2**64


def splitmix64(state: Tensor) -> Tensor:
    """Return the next 64 random bits of each state, ``int64`` of the same shape."""
    x = state + GOLDEN_RATIO
    x = (x ^ shift_right(x, 30)) * FIRST_FACTOR
    x = (x ^ shift_right(x, 27)) * SECOND_FACTOR
    return x ^ shift_right(x, 31)


def shift_right(x: Tensor, bits: int) -> Tensor:
    """Shift int64 to the right as if it had no sign."""
    return (x >> bits) & (2 ** (64 - bits) - 1)
