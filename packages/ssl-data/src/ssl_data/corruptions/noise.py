"""Noise. Images are ``(H, W, C)`` float64 in 0..1; results may leave the range."""

import numpy as np

from ssl_data.corruptions.filters import Floats


def gaussian_noise(x: Floats, rng: np.random.Generator, deviation: float) -> Floats:
    """Add Gaussian noise: of a sensor in low light."""
    return x + rng.normal(scale=deviation, size=x.shape)


def shot_noise(x: Floats, rng: np.random.Generator, photons: float) -> Floats:
    """Draw each value from a Poisson distribution: light arrives as photons."""
    return rng.poisson(x * photons) / photons


def impulse_noise(x: Floats, rng: np.random.Generator, share: float) -> Floats:
    """Replace a share of the values by 0 or 1, equally likely: salt and pepper, of bit errors."""
    changed, white = rng.random(x.shape) <= share, rng.random(x.shape) <= 0.5
    return np.where(changed, white.astype(np.float64), x)


def speckle_noise(x: Floats, rng: np.random.Generator, deviation: float) -> Floats:
    """Add noise in proportion to the value."""
    return x + x * rng.normal(scale=deviation, size=x.shape)
