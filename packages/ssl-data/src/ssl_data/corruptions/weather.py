"""Weather and light. Images are ``(H, W, C)`` float64 in 0..1; results may leave the range."""

import numpy as np

from ssl_data.corruptions.filters import Floats, centre_zoom, motion

LUMA = np.array([0.299, 0.587, 0.114])  # grey of red, green and blue (ITU-R BT.601)


def snow(
    x: Floats, rng: np.random.Generator, mean: float, deviation: float, zoom: float, threshold: float, radius: float,
    sigma: float, share: float,
) -> Floats:  # fmt: skip
    """Whiten an image and add flakes: noise, enlarged, cut off below a threshold and moved downwards."""
    flakes = centre_zoom(rng.normal(mean, deviation, x.shape[:2]), zoom)
    flakes = np.where(flakes < threshold, 0, flakes)
    flakes = np.floor(np.clip(flakes, 0, 1) * 255 + 1e-6) / 255
    flakes = np.round(motion(flakes, radius, sigma, rng.uniform(-135, -45)) * 255)[..., None] / 255
    grey = (x @ LUMA if x.shape[2] == 3 else x[..., 0])[..., None]
    whitened = share * x + (1 - share) * np.maximum(x, grey * 1.5 + 0.5)
    return whitened + flakes + np.rot90(flakes, 2)


def fog(x: Floats, rng: np.random.Generator, strength: float, decay: float) -> Floats:
    """Add a random landscape of fog, and scale to the range of the image."""
    height, width = x.shape[:2]
    landscape = plasma_fractal(1 << (max(height, width) - 1).bit_length(), rng, decay)
    highest = x.max()
    return (x + strength * landscape[:height, :width, None]) * highest / (highest + strength)


def plasma_fractal(size: int, rng: np.random.Generator, decay: float) -> Floats:
    """Return random heights from 0 to 1, ``(size, size)``: the diamond-square algorithm on a torus.

    Fournier, Fussell & Carpenter 1982, https://doi.org/10.1145/358523.358553. ``size`` is a power of two. The means of four
    neighbours get a random number; its range falls by ``decay`` with each halving of the distance.
    """
    heights = np.zeros((size, size))
    step, spread = size, 100.0

    def displaced(total: Floats) -> Floats:
        return total / 4 + spread * rng.uniform(-spread, spread, total.shape)

    while step >= 2:
        half = step // 2
        corners = heights[::step, ::step]
        total = corners + np.roll(corners, -1, axis=0)
        centres = displaced(total + np.roll(total, -1, axis=1))
        heights[half::step, half::step] = centres
        beside = centres + np.roll(centres, 1, axis=0) + corners + np.roll(corners, -1, axis=1)
        heights[::step, half::step] = displaced(beside)
        below = centres + np.roll(centres, 1, axis=1) + corners + np.roll(corners, -1, axis=0)
        heights[half::step, ::step] = displaced(below)
        step, spread = half, spread / decay
    heights -= heights.min()
    return heights / max(heights.max(), np.finfo(np.float64).tiny)


def brightness(x: Floats, rng: np.random.Generator, added: float) -> Floats:
    """Add to the value of HSV: daylight."""
    value = x.max(axis=2, keepdims=True)
    brighter = np.clip(value + added, 0, 1)
    return np.where(value > 0, x * (brighter / np.where(value > 0, value, 1)), brighter)


def contrast(x: Floats, rng: np.random.Generator, factor: float) -> Floats:
    """Scale the deviation from the mean of each channel."""
    mean = x.mean(axis=(0, 1), keepdims=True)
    return (x - mean) * factor + mean


def saturate(x: Floats, rng: np.random.Generator, factor: float, added: float) -> Floats:
    """Scale the saturation of HSV and add to it. A grey pixel has the hue of red, as in the authors' code."""
    value, lowest = x.max(axis=2, keepdims=True), x.min(axis=2, keepdims=True)
    chroma = value - lowest
    saturation = chroma / np.where(value > 0, value, 1)
    changed = np.clip(saturation * factor + added, 0, 1)
    coloured = value - (value - x) * (changed / np.where(saturation > 0, saturation, 1))
    red = np.concatenate([value, value * (1 - changed), value * (1 - changed)], axis=2)
    return np.where(chroma > 0, coloured, red)
