"""Crop and resize, as torch's antialiased interpolation does it.

Pixels are addressed by slices and by unsigned numbers: numba looks at every signed index whether it counts from the end, and a
loop that does so is not widened.
"""

import math

import numpy as np

from ssl_data.augment.jit import compiled


@compiled
def room_for(height, width, channels, size, cubic):
    """Return the memory that :func:`resized_crop` works in, for images of ``height`` by ``width``."""
    taps = filter_width(max(height, width) / size, cubic)
    at, weight = np.empty((2, taps, size), np.uint64), np.empty((2, taps, size), np.float32)
    return at, weight, np.empty((2, size), np.float32), np.empty(width * channels, np.float32)


@compiled
def filter_width(scale, cubic):
    """Return how many pixels can have a weight where ``scale`` of them become one, made even."""
    return int(math.ceil(max(scale, 1.0) * (4.0 if cubic else 2.0)) + 1) // 2 * 2


@compiled
def fill_filter(offset, scale, length, step, reverse, cubic, at, weight, scratch):
    """Fill the filter that maps a line of ``length`` pixels, ``step`` numbers apart, to ``size``; return its width.

    Output x is the sum over k of ``weight[k, x]`` times the number at ``at[k, x]``. Its window is centred on ``offset + scale *
    (x + 0.5)``: a triangle, or Keys' cubic with a = -0.5 (Keys 1981), stretched by ``scale`` where that is above 1. All outputs
    have as many taps as the widest needs, the superfluous of weight 0, so that no loop has a branch. ``reverse`` mirrors.
    """
    size, width, stretch = at.shape[1], filter_width(scale, cubic), max(scale, 1.0)
    support, inverse = stretch * (2.0 if cubic else 1.0), np.float32(1.0 / stretch)
    start, total = scratch[0], scratch[1]
    low, last, numbers = at[0], np.uint64(length - 1), np.uint64(step)
    for x in range(size):
        centre = offset + scale * ((size - x if reverse else x + 1) - 0.5)
        first = max(int(centre - support + 0.5), 0)
        low[x] = first
        start[x] = np.float32(first - centre + 0.5)
        total[x] = np.float32(0.0)
    # The last first: the lowest pixels, which the others are counted from, lie in at[0]
    for k in range(width - 1, -1, -1):
        target, place, taps = weight[k], at[k], np.uint64(k)
        for x in range(size):
            d = abs(start[x] + np.float32(k)) * inverse
            value = _cubic(d) if cubic else max(np.float32(1.0) - d, np.float32(0.0))
            pixel = low[x] + taps
            value = value if pixel <= last else np.float32(0.0)
            target[x] = value
            place[x] = min(pixel, last) * numbers
            total[x] += value
    for k in range(width):
        target = weight[k]
        for x in range(size):
            target[x] /= total[x]
    return width


@compiled
def _cubic(d):
    """Return Keys' cubic at a distance of ``d``."""
    near = (np.float32(1.5) * d - np.float32(2.5)) * d * d + np.float32(1.0)
    far = ((np.float32(2.5) - np.float32(0.5) * d) * d - np.float32(4.0)) * d + np.float32(2.0)
    return near if d < np.float32(1.0) else (far if d < np.float32(2.0) else np.float32(0.0))


@compiled
def resized_crop(image, p, cropped, cubic, zero, unit, room, out):
    """Write the box of ``p`` of ``image (H, W * C)``, resized and mirrored as ``p`` says, into ``out (C, size, size)``.

    A stored value becomes ``(value - zero) * unit``. Without ``zero`` (None) nothing is subtracted, as for 8-bit images.

    Rows first, one output row at a time: what is summed lies side by side, and the sum stays in the cache. A random crop reads
    nothing outside of its box; the centre of a resized image does, as if the rest had been cut off afterwards.
    """
    channels, size = out.shape[0], out.shape[1]
    height, width = image.shape[0], image.shape[1] // channels
    top, left = (int(p.top), int(p.left)) if cropped else (0, 0)
    bottom, right = int(math.ceil(p.top + p.height)), int(math.ceil(p.left + p.width))
    rows, columns = (bottom - top, right - left) if cropped else (height, width)
    at, weight, scratch, whole_row = room
    taps_y = fill_filter(p.top - top, p.height / size, rows, 1, False, cubic, at[0], weight[0], scratch)
    taps_x = fill_filter(p.left - left, p.width / size, columns, channels, p.flip, cubic, at[1], weight[1], scratch)
    at_y, weight_y, at_x, weight_x = at[0], weight[0], at[1], weight[1]
    begin, end = left * channels, (left + columns) * channels
    row = whole_row[: end - begin]
    for y in range(size):
        for k in range(0, taps_y, 2):
            a, b = weight_y[k, y] * unit, weight_y[k + 1, y] * unit
            first, second = image[top + at_y[k, y], begin:end], image[top + at_y[k + 1, y], begin:end]
            if k == 0:
                for j in range(len(row)):
                    row[j] = a * _shifted(first[j], zero) + b * _shifted(second[j], zero)
            else:
                for j in range(len(row)):
                    row[j] += a * _shifted(first[j], zero) + b * _shifted(second[j], zero)
        for k in range(0, taps_x, 2):
            if channels == 3:
                _add_columns(row, at_x[k], at_x[k + 1], weight_x[k], weight_x[k + 1], k == 0, out[:, y])
            elif channels == 1:
                _add_grey_columns(row, at_x[k], at_x[k + 1], weight_x[k], weight_x[k + 1], k == 0, out[0, y])
            else:
                for c in range(0, channels - 2, 3):
                    _add_columns(row[c:], at_x[k], at_x[k + 1], weight_x[k], weight_x[k + 1], k == 0, out[c : c + 3, y])
                for c in range(channels - channels % 3, channels):
                    _add_grey_columns(row[c:], at_x[k], at_x[k + 1], weight_x[k], weight_x[k + 1], k == 0, out[c, y])
        if cubic:  # its weights are negative in places, and the sum can leave the range
            for c in range(channels):
                line = out[c, y]
                for x in range(size):
                    line[x] = min(max(line[x], np.float32(0.0)), np.float32(1.0))


@compiled
def _shifted(value, zero):
    """Return a stored value as float32, as its difference from ``zero`` unless that is None."""
    if zero is None:
        return np.float32(value)
    return np.float32(value) - zero


@compiled
def _add_columns(row, at_a, at_b, weight_a, weight_b, begins, out):
    """Add two taps of three channels at once: they share their places and weights."""
    red, green, blue = out[0], out[1], out[2]
    greens, blues = row[1:], row[2:]
    for x in range(len(red)):
        i, j, a, b = at_a[x], at_b[x], weight_a[x], weight_b[x]
        r, g, b_ = a * row[i] + b * row[j], a * greens[i] + b * greens[j], a * blues[i] + b * blues[j]
        if begins:
            red[x], green[x], blue[x] = r, g, b_
        else:
            red[x] += r
            green[x] += g
            blue[x] += b_


@compiled
def _add_grey_columns(row, at_a, at_b, weight_a, weight_b, begins, out):
    """Add two taps of one channel."""
    for x in range(len(out)):
        value = weight_a[x] * row[at_a[x]] + weight_b[x] * row[at_b[x]]
        out[x] = value if begins else out[x] + value
