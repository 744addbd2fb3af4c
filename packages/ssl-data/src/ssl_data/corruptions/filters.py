"""Linear filters of images ``(H, W, C)`` or ``(H, W)`` of float64: smoothing, convolution, zoom, motion and resampling.

Written with numpy, since SciPy and OpenCV are no dependencies of this package; the tests compare with SciPy.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Boundary = Callable[[NDArray[np.int64], int], NDArray[np.int64]]  # any index, length of the axis -> index in the axis


def nearest(index: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Repeat the edge: ``a a | a b c | c c``."""
    return np.clip(index, 0, length - 1)


def reflect(index: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Mirror with the edge: ``b a | a b c | c b``."""
    index = index % (2 * length)
    return np.minimum(index, 2 * length - 1 - index)


def mirror(index: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Mirror without the edge: ``c b | a b c | b a``."""
    period = max(1, 2 * (length - 1))
    index = index % period
    return np.minimum(index, period - index)


def along_axes(x: Floats, rows: Floats, columns: Floats) -> Floats:
    """Return ``rows @ x @ columns.T`` of each channel."""
    return np.moveaxis(np.tensordot(columns, np.tensordot(rows, x, (1, 0)), (1, 1)), 0, 1)


def smooth(x: Floats, sigma: float, boundary: Boundary = nearest, truncate: float = 4.0) -> Floats:
    """Return an image after a Gaussian filter of ``sigma`` pixels, cut off at ``truncate`` deviations."""
    matrices = (_smoothing(length, float(sigma), boundary, truncate) for length in x.shape[:2])
    return along_axes(x, *matrices)


@lru_cache(maxsize=32)
def _smoothing(length: int, sigma: float, boundary: Boundary, truncate: float) -> Floats:
    """Return the matrix ``(length, length)`` of the filter along one axis."""
    radius = int(truncate * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2) if radius else np.ones(1)
    matrix = np.zeros((length, length))
    places = boundary(np.arange(length)[:, None] + offsets, length)
    np.add.at(matrix, (np.arange(length)[:, None], places), weights / weights.sum())
    return matrix


def disk(radius: float, sigma: float) -> Floats:
    """Return the kernel of a lens out of focus: a disk of which the edge is smoothed, 17 by 17 up to a radius of 8."""
    reach, width = (8, 3) if radius <= 8 else (int(radius), 5)
    grid = np.arange(-reach, reach + 1)
    kernel = (grid[:, None] ** 2 + grid**2 <= radius**2).astype(np.float64)
    offsets = np.arange(width) - width // 2
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    matrix = np.zeros((len(grid), len(grid)))
    places = mirror(np.arange(len(grid))[:, None] + offsets, len(grid))
    np.add.at(matrix, (np.arange(len(grid))[:, None], places), weights / weights.sum())
    return along_axes(kernel / kernel.sum(), matrix, matrix)


def convolve(x: Floats, kernel: Floats) -> Floats:
    """Return an image after a symmetric kernel ``(k, k)``, k odd, with mirrored edges; by the Fourier transform."""
    reach = len(kernel) // 2
    height, width = x.shape[:2]
    rows = mirror(np.arange(-reach, height + reach), height)
    columns = mirror(np.arange(-reach, width + reach), width)
    padded = x[rows][:, columns]
    shape = padded.shape[:2]
    spectrum = np.fft.rfft2(kernel, shape).reshape(shape[0], -1, *[1] * (x.ndim - 2))
    found = np.fft.irfft2(np.fft.rfft2(padded, axes=(0, 1)) * spectrum, shape, axes=(0, 1))
    return found[2 * reach :, 2 * reach :]


def centre_zoom(x: Floats, factor: float) -> Floats:
    """Return the centre of an image enlarged by ``factor`` to the size of the image, bilinear."""
    return along_axes(x, *(_zoom(length, float(factor)) for length in x.shape[:2]))


@lru_cache(maxsize=256)
def _zoom(length: int, factor: float) -> Floats:
    """Return the matrix ``(length, length)`` of the zoom along one axis: the ends of the crop are those of the result."""
    kept = math.ceil(length / factor)
    first, enlarged = (length - kept) // 2, max(1, round(kept * factor))
    trimmed = (enlarged - length) // 2
    scale = (kept - 1) / (enlarged - 1) if enlarged > 1 else 0.0
    places = np.arange(trimmed, trimmed + length) * scale
    low = np.minimum(places.astype(np.int64), kept - 1)
    high = np.minimum(low + 1, kept - 1)
    matrix = np.zeros((length, length))
    np.add.at(matrix, (np.arange(length), first + low), 1 - (places - low))
    np.add.at(matrix, (np.arange(length), first + high), places - low)
    return matrix


def motion(x: Floats, radius: float, sigma: float, angle: float) -> Floats:
    """Return an image after a motion in a direction: ImageMagick's motion blur, in which the past fades as a Gaussian.

    Parameters
    ----------
    x : array
        ``(H, W, C)``.
    radius : float
        Pixels; the kernel has ``2 * radius + 1`` places.
    sigma : float
        Pixels, of the fading.
    angle : float
        Degrees.
    """
    width = 2 * math.ceil(radius) + 1
    steps = np.arange(width)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights /= weights.sum()
    along, across = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    shifts = np.ceil(np.stack([steps * across, steps * along], 1) - 0.5).astype(np.int64)  # down, right
    height, length = x.shape[:2]
    before, after = -shifts.min(0), shifts.max(0)  # one of each is 0
    padded = np.pad(x, [*zip(before, after), *[(0, 0)] * (x.ndim - 2)], mode="edge")
    found = np.zeros_like(x)
    for weight, (down, right) in zip(weights, shifts + before):
        found += weight * padded[down : down + height, right : right + length]
    return found


def sample(x: Floats, rows: Floats, columns: Floats, boundary: Boundary) -> Floats:
    """Return an image ``(H, W, C)`` at places ``rows`` and ``columns``, ``(H', W')`` each, between pixels: bilinear."""
    height, width = x.shape[:2]
    top, left = np.floor(rows).astype(np.int64), np.floor(columns).astype(np.int64)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    upper, lower = boundary(top, height), boundary(top + 1, height)
    first, second = boundary(left, width), boundary(left + 1, width)
    above = (1 - right) * x[upper, first] + right * x[upper, second]
    below = (1 - right) * x[lower, first] + right * x[lower, second]
    return (1 - down) * above + down * below
