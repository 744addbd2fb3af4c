"""Blur and noise on one image: planes ``(C, size, size) float32`` in [0, 1], changed in place."""

import math

import numpy as np

from ssl_data.augment.backends.cpu.color import clip
from ssl_data.augment.jit import compiled
from ssl_data.augment.rng import normals

REACH = 5.5  # deviations: what lies beyond weighs less than 3e-7, and is left out of the sum


@compiled
def blur(x, sigma, kernel_size, scratch):
    """Separable Gaussian with reflected borders; ``scratch`` is like a plane of ``x``. Both taps of a weight go together."""
    size = x.shape[1]
    half = min(kernel_size // 2, int(math.ceil(REACH * sigma)))
    kernel = np.empty(half + 1, np.float32)  # by the distance from the centre
    total = 0.0
    for k in range(half + 1):
        value = math.exp(-0.5 * (k / sigma) ** 2)
        kernel[k] = value
        total += value if k == 0 else 2.0 * value
    for k in range(half + 1):
        kernel[k] /= np.float32(total)
    line = np.empty(size + 2 * half, np.float32)
    middle = line[half : half + size]
    for c in range(x.shape[0]):
        plane = x[c]
        for row in range(size):
            source, target = plane[row], scratch[row]
            for column in range(size):
                middle[column] = source[column]
            for k in range(half):
                line[k] = source[half - k]
                line[half + size + k] = source[size - 2 - k]
            _scale(middle, kernel[0], target)
            for k in range(1, half + 1):
                _add_pair(line[half - k : half - k + size], line[half + k : half + k + size], kernel[k], target)
        for row in range(size):
            target = plane[row]
            _scale(scratch[row], kernel[0], target)
            for k in range(1, half + 1):
                below = row + k
                _add_pair(scratch[abs(row - k)], scratch[min(below, 2 * (size - 1) - below)], kernel[k], target)


@compiled
def _scale(source, weight, target):
    for j in range(len(target)):
        target[j] = weight * source[j]


@compiled
def _add_pair(first, second, weight, target):
    for j in range(len(target)):
        target[j] += weight * (first[j] + second[j])


@compiled
def noise(x, deviation, key):
    """Add Gaussian noise, drawn plane by plane."""
    flat = x.reshape(-1)
    for block in range((len(flat) + 3) // 4):
        drawn = normals(key, block)
        for k in range(min(4, len(flat) - 4 * block)):
            flat[4 * block + k] = clip(flat[4 * block + k] + np.float32(deviation * drawn[k]))
