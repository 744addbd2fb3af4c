"""Crop and resize, as torch's antialiased bilinear interpolation does it."""

import numpy as np

from ssl_data.compiled import compiled


@compiled
def fill_taps(length, size, reverse, at, weight):
    """Fill the triangle filter that maps ``length`` pixels to ``size``; return its width.

    Tap k of output pixel x reads input pixel ``at[k, x]`` with ``weight[k, x]``. All pixels get as many taps as the widest
    needs, the superfluous with weight 0, so that the loops over pixels have no branch. ``reverse`` mirrors.
    """
    scale = length / size
    support = max(scale, 1.0)
    width = 0
    for x in range(size):
        center = scale * (x + 0.5)
        width = max(width, min(int(center + support + 0.5), length) - max(int(center - support + 0.5), 0))
    for x in range(size):
        out = size - 1 - x if reverse else x
        center = scale * (x + 0.5)
        low = max(int(center - support + 0.5), 0)
        high = min(int(center + support + 0.5), length)
        total = 0.0
        for k in range(low, high):
            total += max(0.0, 1.0 - abs((k - center + 0.5) / support))
        for k in range(width):
            j = low + k
            value = max(0.0, 1.0 - abs((j - center + 0.5) / support)) / total if j < high else 0.0
            weight[k, out] = value
            at[k, out] = min(j, length - 1)
    return width


@compiled
def resized_crop(image, p, taps, at, weight, row, out):
    """Write the crop ``p`` of ``image (H, W * C) uint8``, resized and mirrored as ``p`` says, into ``out (C, size, size)``.

    Rows first, one output row at a time: what is summed lies side by side, and the buffer ``row`` stays in the cache.
    ``taps``, ``at`` and ``weight`` are room for the two filters, of rows and of columns.
    """
    channels, size = out.shape[0], out.shape[1]
    top, first, pixels = int(p[0]), int(p[1]) * channels, int(p[3]) * channels
    for axis in range(2):  # one call in a loop: each further call is compiled into the whole again
        taps[axis] = fill_taps(int(p[2 + axis]), size, axis == 1 and p[4] != 0.0, at[axis], weight[axis])
    at_y, at_x, weight_y, weight_x = at[0], at[1], weight[0], weight[1]
    unit = np.float32(1.0 / 255.0)
    for y in range(size):
        for k in range(taps[0]):
            factor = weight_y[k, y] * unit
            line = image[top + at_y[k, y], first : first + pixels]
            if k == 0:
                for j in range(pixels):
                    row[j] = factor * np.float32(line[j])
            elif factor != np.float32(0.0):
                for j in range(pixels):
                    row[j] += factor * np.float32(line[j])
        for c in range(channels):
            target = out[c, y]
            for k in range(taps[1]):
                if k == 0:
                    for x in range(size):
                        target[x] = weight_x[k, x] * row[at_x[k, x] * channels + c]
                else:
                    for x in range(size):
                        target[x] += weight_x[k, x] * row[at_x[k, x] * channels + c]
