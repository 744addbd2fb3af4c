"""Blur and noise on one image: planes ``(C, size, size) float32`` in [0, 1], changed in place."""

import math

import numpy as np

from ssl_data.compiled import compiled
from ssl_data.fused.colour import clip
from ssl_data.philox import normals

REACH = 5.5  # deviations: what lies beyond weighs less than 3e-7, and is left out of the sum


@compiled
def blur(x, sigma, kernel_size, scratch):
    """Separable Gaussian with reflected borders; ``scratch`` is like a plane of ``x``."""
    size = x.shape[1]
    half = min(kernel_size // 2, int(math.ceil(REACH * sigma)))
    kernel_size = 2 * half + 1
    kernel = np.empty(kernel_size, np.float32)
    total = 0.0
    for k in range(kernel_size):
        value = math.exp(-0.5 * ((k - half) / sigma) ** 2)
        kernel[k] = value
        total += value
    for k in range(kernel_size):
        kernel[k] /= np.float32(total)
    line = np.empty(size + 2 * half, np.float32)
    for c in range(x.shape[0]):
        for row in range(size):
            for column in range(size):
                line[half + column] = x[c, row, column]
            for k in range(half):
                line[k] = x[c, row, half - k]
                line[half + size + k] = x[c, row, size - 2 - k]
            target = scratch[row]
            for column in range(size):
                target[column] = kernel[0] * line[column]
            for k in range(1, kernel_size):
                weight = kernel[k]
                for column in range(size):
                    target[column] += weight * line[column + k]
        for row in range(size):
            target = x[c, row]
            for column in range(size):
                target[column] = np.float32(0.0)
            for k in range(kernel_size):
                at = abs(row + k - half)
                source, weight = scratch[2 * (size - 1) - at if at >= size else at], kernel[k]
                for column in range(size):
                    target[column] += weight * source[column]


@compiled
def noise(x, deviation, key):
    """Add Gaussian noise, drawn plane by plane."""
    flat = x.reshape(-1)
    for block in range((len(flat) + 3) // 4):
        drawn = normals(key, block)
        for k in range(min(4, len(flat) - 4 * block)):
            flat[4 * block + k] = clip(flat[4 * block + k] + np.float32(deviation * drawn[k]))
