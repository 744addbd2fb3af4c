"""Digital corruptions. Images are ``(H, W, C)`` float64 in 0..1."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssl_data.corruptions.filters import Floats, mirror, reflect, sample, smooth


def elastic_transform(x: Floats, rng: np.random.Generator, strength: float, sigma: float, shift: float) -> Floats:
    """Apply a random affine map, then move each pixel along a smooth random field (Simard et al. 2003).

    The constants are shares of the shorter edge. OpenCV, which the authors use, rounds the places of the affine map to 1/32
    pixel; here they are exact.
    """
    height, width = x.shape[:2]
    edge = min(height, width)
    strength, sigma, shift = strength * edge, sigma * edge, shift * edge
    centre, reach = np.array([height, width]) // 2, edge // 3
    corners = np.array([centre + reach, [centre[0] + reach, centre[1] - reach], centre - reach], np.float64)
    moved = corners + rng.uniform(-shift, shift, size=corners.shape)
    # the affine map from the places (x, y) of the result to those of the image
    back = np.linalg.solve(np.column_stack([moved, np.ones(3)]), corners)
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    places = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ back
    x = sample(x, places[..., 1], places[..., 0], mirror)
    across, down = (
        strength * smooth(rng.uniform(-1, 1, size=(height, width)), sigma, reflect, truncate=3.0) for _ in range(2)
    )
    return sample(x, rows + down, columns + across, reflect)


def pixelate(x: Floats, rng: np.random.Generator, share: float) -> Floats:
    """Shrink to a share of the edge and enlarge again, by boxes."""
    height, width = x.shape[:2]
    small = _pillow(x).resize((max(1, int(width * share)), max(1, int(height * share))), Image.Resampling.BOX)
    return _floats(small.resize((width, height), Image.Resampling.BOX))


def jpeg_compression(x: Floats, rng: np.random.Generator, quality: int) -> Floats:
    """Compress as JPEG with a low quality, 1 to 100, and decode."""
    buffer = io.BytesIO()
    _pillow(x).save(buffer, "JPEG", quality=quality)
    return _floats(Image.open(buffer))


def _pillow(x: Floats) -> Image.Image:
    pixels: NDArray[np.uint8] = np.round(x * 255).astype(np.uint8)
    return Image.fromarray(pixels[..., 0] if x.shape[2] == 1 else pixels)


def _floats(image: Image.Image) -> Floats:
    pixels = np.asarray(image, np.float64) / 255
    return pixels[..., None] if pixels.ndim == 2 else pixels
