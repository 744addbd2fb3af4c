"""Views at the speed of the processor: all operations of a view in one compiled pass over a small buffer.

The same parameters and the same arithmetic as :mod:`ssl_data.reference`, on float32 images in [0, 1], without the
interpreter's lock: threads work side by side.
"""

import math

import numba
import numpy as np

from ssl_data.parameters import NOISE_BLOCK, NUM_PARAMETERS, ORDERS, sample
from ssl_data.philox import normals

_ORDERS = ORDERS  # a constant for the compiler


@numba.njit(cache=True, nogil=True)
def _taps(start, length, size, first, count, weight):
    """Fill the antialiased bilinear (triangle) filter that maps ``length`` pixels from ``start`` on to ``size``."""
    scale = length / size
    support = max(scale, 1.0)
    for out in range(size):
        center = scale * (out + 0.5)
        low = max(int(center - support + 0.5), 0)
        high = min(int(center + support + 0.5), length)
        total = 0.0
        for k in range(high - low):
            value = max(0.0, 1.0 - abs((low + k - center + 0.5) / support))
            weight[out, k] = value
            total += value
        for k in range(high - low):
            weight[out, k] /= total
        first[out], count[out] = start + low, high - low


@numba.njit(cache=True, nogil=True)
def _resized_crop(image, p, out):
    """Crop, resize to ``(size, size)`` and scale to [0, 1]."""
    top, left, height, width = int(p[0]), int(p[1]), int(p[2]), int(p[3])
    size, channels = out.shape[0], out.shape[2]
    fy, cy = np.empty(size, np.int64), np.empty(size, np.int64)
    fx, cx = np.empty(size, np.int64), np.empty(size, np.int64)
    wy = np.empty((size, 2 * int(math.ceil(max(height / size, 1.0))) + 2), np.float32)
    wx = np.empty((size, 2 * int(math.ceil(max(width / size, 1.0))) + 2), np.float32)
    _taps(top, height, size, fy, cy, wy)
    _taps(left, width, size, fx, cx, wx)
    rows = np.empty((height, size, channels), np.float32)
    unit = np.float32(1.0 / 255.0)
    for y in range(height):
        for x in range(size):
            for c in range(channels):
                total = np.float32(0.0)
                for k in range(cx[x]):
                    total += wx[x, k] * np.float32(image[top + y, fx[x] + k, c])
                rows[y, x, c] = total * unit
    for y in range(size):
        for x in range(size):
            for c in range(channels):
                total = np.float32(0.0)
                for k in range(cy[y]):
                    total += wy[y, k] * rows[fy[y] - top + k, x, c]
                out[y, x, c] = total


@numba.njit(cache=True, nogil=True)
def _flip(x):
    size = x.shape[1]
    for row in range(x.shape[0]):
        for column in range(size // 2):
            for c in range(x.shape[2]):
                kept = x[row, column, c]
                x[row, column, c] = x[row, size - 1 - column, c]
                x[row, size - 1 - column, c] = kept


@numba.njit(cache=True, nogil=True)
def _affine(source, p, out):
    """Rotate, shear, zoom and shift about the centre; what comes from outside is black."""
    size, channels = out.shape[0], out.shape[2]
    angle, shear, zoom = math.radians(p[5]), math.radians(p[9]), p[8]
    a, b = math.cos(angle), -math.cos(angle) * math.tan(shear) - math.sin(angle)
    c, d = math.sin(angle), -math.sin(angle) * math.tan(shear) + math.cos(angle)
    m0, m1, m3, m4 = d / zoom, -b / zoom, -c / zoom, a / zoom  # the inverse map
    half = size * 0.5 - 0.5
    for y in range(size):
        for x in range(size):
            ox, oy = x - half - p[6], y - half - p[7]
            sx, sy = m0 * ox + m1 * oy + half, m3 * ox + m4 * oy + half
            x0, y0 = int(math.floor(sx)), int(math.floor(sy))
            for channel in range(channels):
                total = 0.0
                for dy in range(2):
                    for dx in range(2):
                        xx, yy = x0 + dx, y0 + dy
                        if 0 <= xx < size and 0 <= yy < size:
                            total += (1.0 - abs(sx - xx)) * (1.0 - abs(sy - yy)) * source[yy, xx, channel]
                out[y, x, channel] = total


@numba.njit(cache=True, nogil=True, inline="always")
def _clip(value):
    return min(max(value, np.float32(0.0)), np.float32(1.0))


@numba.njit(cache=True, nogil=True, inline="always")
def _gray(x, row, column):
    """Luma of ITU-R 601-2, as PIL and torchvision."""
    if x.shape[2] == 1:
        return x[row, column, 0]
    return (
        np.float32(0.2989) * x[row, column, 0]
        + np.float32(0.587) * x[row, column, 1]
        + np.float32(0.114) * x[row, column, 2]
    )


@numba.njit(cache=True, nogil=True)
def _brightness(x, factor):
    for row in range(x.shape[0]):
        for column in range(x.shape[1]):
            for c in range(x.shape[2]):
                x[row, column, c] = _clip(x[row, column, c] * factor)


@numba.njit(cache=True, nogil=True)
def _contrast(x, factor):
    total = 0.0
    for row in range(x.shape[0]):
        for column in range(x.shape[1]):
            total += _gray(x, row, column)
    rest = np.float32(total / (x.shape[0] * x.shape[1])) * (np.float32(1.0) - factor)
    for row in range(x.shape[0]):
        for column in range(x.shape[1]):
            for c in range(x.shape[2]):
                x[row, column, c] = _clip(x[row, column, c] * factor + rest)


@numba.njit(cache=True, nogil=True)
def _saturation(x, factor):
    if x.shape[2] == 3:
        for row in range(x.shape[0]):
            for column in range(x.shape[1]):
                rest = _gray(x, row, column) * (np.float32(1.0) - factor)
                for c in range(3):
                    x[row, column, c] = _clip(x[row, column, c] * factor + rest)


@numba.njit(cache=True, nogil=True)
def _hue(x, turn):
    """Turn the hue in HSV (Smith 1978)."""
    if x.shape[2] != 3:
        return
    one = np.float32(1.0)
    six = np.float32(6.0)
    for row in range(x.shape[0]):
        for column in range(x.shape[1]):
            r, g, b = x[row, column, 0], x[row, column, 1], x[row, column, 2]
            high, low = max(r, max(g, b)), min(r, min(g, b))
            spread = high - low
            if spread == np.float32(0.0):
                continue  # a grey has no hue
            saturation = spread / high
            rc, gc, bc = (high - r) / spread, (high - g) / spread, (high - b) / spread
            if high == r:
                h = bc - gc
            elif high == g:
                h = np.float32(2.0) + rc - bc
            else:
                h = np.float32(4.0) + gc - rc
            h = h / six + turn
            h = (h - np.float32(math.floor(h))) * six
            sector = int(math.floor(h))
            f = h - np.float32(sector)
            v = high
            lo = _clip(v * (one - saturation))
            down = _clip(v * (one - saturation * f))
            up = _clip(v * (one - saturation * (one - f)))
            sector = sector % 6
            if sector == 0:
                r, g, b = v, up, lo
            elif sector == 1:
                r, g, b = down, v, lo
            elif sector == 2:
                r, g, b = lo, v, up
            elif sector == 3:
                r, g, b = lo, down, v
            elif sector == 4:
                r, g, b = up, lo, v
            else:
                r, g, b = v, lo, down
            x[row, column, 0], x[row, column, 1], x[row, column, 2] = r, g, b


@numba.njit(cache=True, nogil=True)
def _grayscale(x):
    if x.shape[2] == 3:
        for row in range(x.shape[0]):
            for column in range(x.shape[1]):
                gray = _gray(x, row, column)
                for c in range(3):
                    x[row, column, c] = gray


@numba.njit(cache=True, nogil=True)
def _blur(x, sigma, kernel_size, scratch):
    """Separable Gaussian with reflected borders."""
    half, size, channels = kernel_size // 2, x.shape[0], x.shape[2]
    kernel = np.empty(kernel_size, np.float32)
    total = 0.0
    for k in range(kernel_size):
        value = math.exp(-0.5 * ((k - half) / sigma) ** 2)
        kernel[k] = value
        total += value
    kernel /= np.float32(total)
    for row in range(size):
        for column in range(size):
            for c in range(channels):
                value = np.float32(0.0)
                for k in range(kernel_size):
                    at = abs(column + k - half)
                    at = 2 * (size - 1) - at if at >= size else at
                    value += kernel[k] * x[row, at, c]
                scratch[row, column, c] = value
    for row in range(size):
        for column in range(size):
            for c in range(channels):
                value = np.float32(0.0)
                for k in range(kernel_size):
                    at = abs(row + k - half)
                    at = 2 * (size - 1) - at if at >= size else at
                    value += kernel[k] * scratch[at, column, c]
                x[row, column, c] = value


@numba.njit(cache=True, nogil=True)
def _solarize(x):
    for row in range(x.shape[0]):
        for column in range(x.shape[1]):
            for c in range(x.shape[2]):
                if x[row, column, c] >= np.float32(0.5):
                    x[row, column, c] = np.float32(1.0) - x[row, column, c]


@numba.njit(cache=True, nogil=True)
def _noise(x, deviation, seed, epoch, index, view):
    flat = x.reshape(-1)
    for block in range((flat.size + 3) // 4):
        drawn = normals(seed, epoch, index, view, NOISE_BLOCK + block)
        for k in range(min(4, flat.size - 4 * block)):
            flat[4 * block + k] = _clip(flat[4 * block + k] + np.float32(deviation) * np.float32(drawn[k]))


@numba.njit(cache=True, nogil=True)
def fused_view(image, spec, kernel_size, mean, inverse_std, seed, epoch, index, view, out, scratch, p):
    """Write one view of ``image (H, W, C) uint8`` into ``out (size, size, C) float32``; ``scratch`` is like ``out``."""
    sample(spec, seed, epoch, index, view, image.shape[0], image.shape[1], p)
    if spec[22] != 0.0:
        _resized_crop(image, p, scratch)
        if p[4] != 0.0:
            _flip(scratch)
        _affine(scratch, p, out)
    else:
        _resized_crop(image, p, out)
        if p[4] != 0.0:
            _flip(out)
    if p[10] != 0.0:
        for step in range(4):
            operation = _ORDERS[int(p[15]), step]
            if operation == 0:
                _brightness(out, np.float32(p[11]))
            elif operation == 1:
                _contrast(out, np.float32(p[12]))
            elif operation == 2:
                _saturation(out, np.float32(p[13]))
            else:
                _hue(out, np.float32(p[14]))
    if p[16] != 0.0:
        _grayscale(out)
    if p[17] != 0.0:
        _blur(out, p[17], kernel_size, scratch)
    if p[18] != 0.0:
        _solarize(out)
    if p[19] != 0.0:
        _noise(out, p[19], seed, epoch, index, view)
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            for c in range(out.shape[2]):
                out[row, column, c] = (out[row, column, c] - mean[c]) * inverse_std[c]


@numba.njit(cache=True, nogil=True)
def fused_views(images, rows, spec, kernel_size, mean, inverse_std, seed, epoch, indices, view, out):
    """Write one view of each of ``images[rows] (n, H, W, C)`` into ``out (n, size, size, C)``; ``indices`` name the samples."""
    scratch = np.empty((out.shape[1], out.shape[2], out.shape[3]), np.float32)
    p = np.empty(NUM_PARAMETERS, np.float64)
    for i in range(len(rows)):
        fused_view(
            images[rows[i]], spec, kernel_size, mean, inverse_std, seed, epoch, indices[i], view, out[i], scratch, p
        )
