"""Operations on the colours of one image: planes ``x (C, pixels) float32`` in [0, 1], changed in place.

Loops are written out: numba takes seconds to compile an assignment to a slice.
"""

import numpy as np

from ssl_data.augment.jit import compiled
from ssl_data.augment.sampling import ORDERS

_ORDERS = ORDERS  # a constant for the compiler


@compiled
def clip(value):
    """Return ``value`` brought into [0, 1]."""
    return min(max(value, np.float32(0.0)), np.float32(1.0))


@compiled
def luma(x, out):
    """Write the grey values of ITU-R 601-2 (as torchvision) into ``out (pixels,)``; without RGB the mean of the bands."""
    if x.shape[0] == 1:
        for j in range(len(out)):
            out[j] = x[0, j]
        return
    if x.shape[0] != 3:
        share = np.float32(1.0 / x.shape[0])
        for j in range(len(out)):
            out[j] = x[0, j] * share
        for c in range(1, x.shape[0]):
            plane = x[c]
            for j in range(len(out)):
                out[j] += plane[j] * share
        return
    red, green, blue = x[0], x[1], x[2]
    for j in range(len(out)):
        out[j] = np.float32(0.2989) * red[j] + np.float32(0.587) * green[j] + np.float32(0.114) * blue[j]


@compiled
def jitter(x, p, scratch):
    """Change brightness, contrast, saturation and hue in the order of ``p``; those that are neutral are left out."""
    coloured = x.shape[0] == 3
    for step in range(4):
        operation = _ORDERS[p.order, step]
        if operation == 0:
            if p.brightness != 1.0:
                brightness(x, np.float32(p.brightness))
        elif operation == 1:
            if p.contrast != 1.0:
                contrast(x, np.float32(p.contrast), scratch)
        elif operation == 2:
            if p.saturation != 1.0 and coloured:
                saturation(x, np.float32(p.saturation), scratch)
        elif p.hue != 0.0 and coloured:
            hue(x, np.float32(p.hue))


@compiled
def brightness(x, factor):
    """Multiply."""
    flat = x.reshape(-1)
    for j in range(len(flat)):
        flat[j] = clip(flat[j] * factor)


@compiled
def contrast(x, factor, scratch):
    """Blend with the mean of the grey values."""
    luma(x, scratch)
    left = len(scratch)
    while left > 1:  # fold the halves: neighbours in memory are added, in an order that no machine changes
        half = left // 2
        for j in range(half):
            scratch[j] += scratch[left - half + j]
        left -= half
    rest = scratch[0] / np.float32(len(scratch)) * (np.float32(1.0) - factor)
    flat = x.reshape(-1)
    for j in range(len(flat)):
        flat[j] = clip(flat[j] * factor + rest)


@compiled
def saturation(x, factor, scratch):
    """Blend with the grey values."""
    luma(x, scratch)
    other = np.float32(1.0) - factor
    for c in range(3):
        plane = x[c]
        for j in range(len(plane)):
            plane[j] = clip(plane[j] * factor + scratch[j] * other)


@compiled
def hue(x, turn):
    """Turn the hue in HSV (Smith 1978).

    Back to RGB without looking for the sector of the circle: a channel lies ``spread * clip(min(k, 4 - k))`` below the
    largest, k = (n + h) mod 6, with n = 5, 3, 1 for red, green, blue and the hue h in sixths of the circle.
    """
    red, green, blue = x[0], x[1], x[2]
    zero, one, two, four, six = np.float32(0.0), np.float32(1.0), np.float32(2.0), np.float32(4.0), np.float32(6.0)
    sixth = np.float32(1.0 / 6.0)
    sixths = turn * six
    for j in range(len(red)):
        r, g, b = red[j], green[j], blue[j]
        high, low = max(r, max(g, b)), min(r, min(g, b))
        spread = high - low
        slope = one / (spread if spread > zero else one)  # a grey has no hue: spread 0 takes nothing away below
        h = (g - b) * slope if high == r else (two + (b - r) * slope if high == g else four + (r - g) * slope)
        h += sixths
        k = np.float32(5.0) + h
        k -= six * np.floor(k * sixth)
        red[j] = high - spread * clip(min(k, four - k))
        k = np.float32(3.0) + h
        k -= six * np.floor(k * sixth)
        green[j] = high - spread * clip(min(k, four - k))
        k = one + h
        k -= six * np.floor(k * sixth)
        blue[j] = high - spread * clip(min(k, four - k))


@compiled
def grayscale(x, scratch):
    """Replace all planes by the grey values."""
    luma(x, scratch)
    for c in range(3):
        for j in range(len(scratch)):
            x[c, j] = scratch[j]


@compiled
def solarize(x):
    """Invert what is at or above one half."""
    flat = x.reshape(-1)
    for j in range(len(flat)):
        flat[j] = np.float32(1.0) - flat[j] if flat[j] >= np.float32(0.5) else flat[j]
