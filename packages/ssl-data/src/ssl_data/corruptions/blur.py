"""Blur. Images are ``(H, W, C)`` float64 in 0..1."""

import numpy as np
from numpy.typing import NDArray

from ssl_data.augment.jit import compiled
from ssl_data.corruptions.filters import Floats, centre_zoom, convolve, disk, motion, smooth

MAX_ANGLE = 45.0  # degrees, of the motion


def gaussian_blur(x: Floats, rng: np.random.Generator, sigma: float) -> Floats:
    """Smooth by a Gaussian filter."""
    return smooth(x, sigma)


def glass_blur(x: Floats, rng: np.random.Generator, sigma: float, reach: int, iterations: int) -> Floats:
    """Smooth, move pixels at random by up to ``reach``, smooth: a window of frosted glass."""
    pixels = np.floor(smooth(x, sigma) * 255 + 1e-6)
    moves = max(0, x.shape[0] - 2 * reach) * max(0, x.shape[1] - 2 * reach)
    shifts = rng.integers(-reach, reach, size=(iterations, moves, 2))
    return smooth(_scattered(pixels, shifts, reach) / 255, sigma)


@compiled
def _scattered(pixels: Floats, shifts: NDArray[np.int64], reach: int) -> Floats:
    """Copy to each pixel that of a place nearby, from the last to the first. (The authors' code reads as a swap; in numpy the
    two sides are views of one array, so that the published images have copies.)"""
    height, width = pixels.shape[:2]
    for iteration in range(len(shifts)):
        number = 0
        for row in range(height - reach, reach, -1):
            for column in range(width - reach, reach, -1):
                right, down = shifts[iteration, number, 0], shifts[iteration, number, 1]
                pixels[row, column] = pixels[row + down, column + right]
                number += 1
    return pixels


def defocus_blur(x: Floats, rng: np.random.Generator, radius: float, sigma: float) -> Floats:
    """Convolve with a disk: a lens out of focus."""
    return convolve(x, disk(radius, sigma))


def motion_blur(x: Floats, rng: np.random.Generator, radius: float, sigma: float) -> Floats:
    """Blur along a random direction, at most 45 degrees from the horizontal: a camera that moves."""
    blurred = motion(x, radius, sigma, rng.uniform(-MAX_ANGLE, MAX_ANGLE))
    return np.round(blurred * 255) / 255  # ImageMagick rounds


def zoom_blur(x: Floats, rng: np.random.Generator, end: float, step: float) -> Floats:
    """Return the mean of an image and of enlargements of its centre: a camera that comes nearer."""
    factors = np.arange(1, end, step)
    zoomed = sum(centre_zoom(x, factor) for factor in factors)
    return (x + zoomed) / (len(factors) + 1)
