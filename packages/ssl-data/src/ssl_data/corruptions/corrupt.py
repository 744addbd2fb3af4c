"""One image, corrupted."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_data.corruptions import blur, digital, noise, weather
from ssl_data.corruptions.severities import CORRUPTIONS, SEVERITIES, constants
from ssl_data.errors import ArgumentError
from ssl_data.suggestion import did_you_mean

_ROUNDING = 1e-6  # grey levels: a whole number that was computed with rounding errors stays itself

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: getattr(module, name)
    for module in (noise, blur, weather, digital)
    for name in CORRUPTIONS
    if hasattr(module, name)
}


def corrupt(
    image: NDArray[np.uint8], corruption: str, severity: int, seed: int = 0, index: int = 0
) -> NDArray[np.uint8]:
    """Return an image with a corruption of ImageNet-C (Hendrycks & Dietterich 2019, https://arxiv.org/abs/1903.12261).

    The formulas and constants are those of the authors' code: of CIFAR-10-C for images with a shorter edge of up to 48 pixels,
    of Tiny ImageNet-C up to 128, and of ImageNet-C above. Results are a pure function of the arguments. They are not the pixels
    of the published files, which have other random numbers and, for ImageNet-C, are JPEG files of quality 85.

    Parameters
    ----------
    image : array
        ``(H, W, 3)`` or ``(H, W, 1) uint8``; not changed.
    corruption : str
        One of ``ssl_data.corruptions.severities.CORRUPTIONS``.
    severity : int
        From 1 to 5.
    seed, index : int
        Seed of the evaluation and number of the image, at least 0: they determine the random numbers.

    Returns
    -------
    array
        ``(H, W, C) uint8``.

    Raises
    ------
    ValueError
        For an unknown corruption or severity, another type or shape, or ``saturate`` of an image without colours.

    Examples
    --------
    >>> image = np.full((32, 32, 3), 100, np.uint8)
    >>> corrupt(image, "brightness", severity=3)[0, 0].tolist()
    [138, 138, 138]
    """
    check_corruption(corruption, severity)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
        got = f"{image.dtype} {tuple(image.shape)}"
        raise ValueError(f"image: expected (H, W, 3) or (H, W, 1) uint8, got {got}")
    if corruption == "saturate" and image.shape[2] == 1:
        raise ArgumentError("corruption", corruption, "expected images in colour, got one band")
    place = np.array([CORRUPTIONS.index(corruption), severity, 0, 0], np.uint64)
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, index], np.uint64), counter=place << np.uint64(32)))
    values = constants(corruption, severity, min(image.shape[:2]))
    found = _FUNCTIONS[corruption](image.astype(np.float64) / 255, rng, *values)
    return np.floor(np.clip(found, 0, 1) * 255 + _ROUNDING).astype(np.uint8)  # the authors cut off, too


def check_corruption(corruption: str, severity: int) -> None:
    """Raise an ArgumentError for an unknown corruption, or a severity that is not 1 to 5."""
    if corruption not in CORRUPTIONS:
        expected = f"expected one of {', '.join(map(repr, CORRUPTIONS))}{did_you_mean(str(corruption), CORRUPTIONS)}"
        raise ArgumentError("corruption", corruption, expected)
    if severity not in SEVERITIES or isinstance(severity, bool):
        raise ArgumentError("severity", severity, "expected an integer from 1 to 5")
