"""Rotation, shear, zoom and shift in one map."""

import math

import numpy as np

from ssl_data.augment.jit import compiled


@compiled
def affine(source, p, out):
    """Map ``source (C, size, size)`` about its centre into ``out``, bilinear; what comes from outside is black."""
    channels, size = out.shape[0], out.shape[1]
    angle, shear, zoom = math.radians(p.angle), math.radians(p.shear), p.zoom
    a, b = math.cos(angle), -math.cos(angle) * math.tan(shear) - math.sin(angle)
    c, d = math.sin(angle), -math.sin(angle) * math.tan(shear) + math.cos(angle)
    m0, m1, m3, m4 = d / zoom, -b / zoom, -c / zoom, a / zoom  # the inverse map
    half = size * 0.5 - 0.5
    for y in range(size):
        for x in range(size):
            shifted_x, shifted_y = x - half - p.shift_x, y - half - p.shift_y
            sx, sy = m0 * shifted_x + m1 * shifted_y + half, m3 * shifted_x + m4 * shifted_y + half
            floor_x, floor_y = math.floor(sx), math.floor(sy)
            x0, y0 = int(floor_x), int(floor_y)
            right, down = np.float32(sx - floor_x), np.float32(sy - floor_y)
            left, up = np.float32(1.0) - right, np.float32(1.0) - down
            for channel in range(channels):
                total = np.float32(0.0)
                if 0 <= y0 < size:
                    if 0 <= x0 < size:
                        total += up * left * source[channel, y0, x0]
                    if 0 <= x0 + 1 < size:
                        total += up * right * source[channel, y0, x0 + 1]
                if 0 <= y0 + 1 < size:
                    if 0 <= x0 < size:
                        total += down * left * source[channel, y0 + 1, x0]
                    if 0 <= x0 + 1 < size:
                        total += down * right * source[channel, y0 + 1, x0 + 1]
                out[channel, y, x] = total
