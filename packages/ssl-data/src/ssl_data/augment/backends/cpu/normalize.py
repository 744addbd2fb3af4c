"""Last step of a view: normalisation, channels_last layout and conversion of the dtype."""

import numpy as np

from ssl_data.augment.jit import compiled


@compiled
def normalise(planes, mean, inverse_std, out):
    """Write ``planes (C, pixels)`` into ``out (pixels, C) float32``."""
    if planes.shape[0] == 3:
        red, green, blue = planes[0], planes[1], planes[2]
        m0, m1, m2 = mean[0], mean[1], mean[2]
        s0, s1, s2 = inverse_std[0], inverse_std[1], inverse_std[2]
        for j in range(len(red)):  # one loop over three planes: compilers know how to shuffle them together
            out[j, 0] = (red[j] - m0) * s0
            out[j, 1] = (green[j] - m1) * s1
            out[j, 2] = (blue[j] - m2) * s2
    elif planes.shape[0] == 1:
        grey = planes[0]
        for j in range(len(grey)):
            out[j, 0] = (grey[j] - mean[0]) * inverse_std[0]
    else:
        for c in range(planes.shape[0]):
            plane, m, s = planes[c], mean[c], inverse_std[c]
            for j in range(len(plane)):
                out[j, c] = (plane[j] - m) * s


@compiled
def round_to_bfloat16(numbers, out):
    """Write the upper halves of ``numbers (n,) float32``, rounded to the nearest and ties to even, into ``out (n,) uint16``."""
    bits = numbers.view(np.uint32)
    for j in range(len(bits)):
        odd = (bits[j] >> np.uint32(16)) & np.uint32(1)
        out[j] = np.uint16((bits[j] + np.uint32(0x7FFF) + odd) >> np.uint32(16))
