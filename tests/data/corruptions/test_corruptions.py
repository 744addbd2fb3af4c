"""Corruptions of ImageNet-C: the authors' formulas and constants, with SciPy, Pillow and colorsys in place of our filters.

Constants are quoted from https://github.com/hendrycks/robustness: ``make_imagenet_c.py`` and ``make_cifar_c.py``.
"""

import colorsys
import io
import math

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from ssl_data import corrupt
from ssl_data.corruptions import blur, digital, filters, noise, weather
from ssl_data.corruptions.severities import BENCHMARK, CORRUPTIONS, constants

SIZES = {32: 32, 224: 56}  # constants for -> edge of the test image; those of ImageNet-C on a small image, for speed


def image(edge=32, bands=3):
    """A smooth picture with edges, ``(H, W, C) uint8``."""
    y, x = np.mgrid[:edge, :edge] / edge
    waves = [np.sin(9 * x + k) * np.cos(7 * y * (k + 1)) + (x > y) for k in range(bands)]
    return np.round(np.clip(60 * np.stack(waves, -1) + 110, 0, 255)).astype(np.uint8)


def per_channel(function, x):
    return np.stack([function(x[..., k]) for k in range(x.shape[2])], -1)


def gaussian(x, sigma, mode="nearest", truncate=4.0):
    """``skimage.filters.gaussian``: SciPy's filter of each channel."""
    return per_channel(lambda band: ndimage.gaussian_filter(band, sigma, mode=mode, truncate=truncate), x)


def clipped_zoom(x, factor):
    edge = len(x)
    kept = math.ceil(edge / factor)
    top = (edge - kept) // 2
    found = ndimage.zoom(x[top : top + kept, top : top + kept], (factor, factor, 1), order=1)
    trim = (len(found) - edge) // 2
    return found[trim : trim + edge, trim : trim + edge]


def magick_motion(x, radius, sigma, angle):
    """ImageMagick's ``MotionBlurImage``, pixel by pixel."""
    width = 2 * radius + 1
    kernel = np.array([math.exp(-(i * i) / (2 * sigma**2)) for i in range(width)])
    kernel /= kernel.sum()
    point = width * math.sin(math.radians(angle)), width * math.cos(math.radians(angle))
    length = math.hypot(*point)
    offsets = [(math.ceil(i * point[1] / length - 0.5), math.ceil(i * point[0] / length - 0.5)) for i in range(width)]
    found = np.zeros_like(x)
    for row in range(x.shape[0]):
        for column in range(x.shape[1]):
            for weight, (right, down) in zip(kernel, offsets):
                at = min(max(row + down, 0), x.shape[0] - 1), min(max(column + right, 0), x.shape[1] - 1)
                found[row, column] += weight * x[at]
    return found


def hsv_changed(x, change):
    flat = [colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*pixel))) for pixel in x.reshape(-1, 3)]
    return np.array(flat).reshape(x.shape)


def resized_by_boxes(x, share):
    edge = len(x)
    picture = Image.fromarray(np.uint8(np.round(x * 255)))
    small = picture.resize((int(edge * share), int(edge * share)), Image.BOX)
    return np.asarray(small.resize((edge, edge), Image.BOX)) / 255


def decoded_jpeg(x, quality):
    file = io.BytesIO()
    Image.fromarray(np.uint8(np.round(x * 255))).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)) / 255


def disk_kernel(radius, sigma):
    reach, width = (8, 3) if radius <= 8 else (radius, 5)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = (x**2 + y**2 <= radius**2).astype(float)
    window = np.exp(-((np.arange(width) - width // 2) ** 2) / (2 * sigma**2))
    window /= window.sum()
    return ndimage.convolve(kernel / kernel.sum(), np.outer(window, window), mode="mirror")


def noisy_glass(x, rng, sigma, reach, iterations):
    edge = len(x)
    pixels = np.uint8(gaussian(x, sigma) * 255 + 1e-6)
    shifts = rng.integers(-reach, reach, size=(iterations, (edge - 2 * reach) ** 2, 2))
    for each in shifts:
        moves = iter(each)
        for h in range(edge - reach, reach, -1):
            for w in range(edge - reach, reach, -1):
                dx, dy = next(moves)
                pixels[h, w] = pixels[h + dy, w + dx]
    return gaussian(pixels / 255, sigma)


def zoomed(x, factors):
    return (x + sum(clipped_zoom(x, factor) for factor in factors)) / (len(factors) + 1)


def snowy(x, rng, mean, deviation, zoom, threshold, radius, sigma, share):
    layer = clipped_zoom(rng.normal(mean, deviation, x.shape[:2])[..., None], zoom)
    layer[layer < threshold] = 0
    layer = np.floor(np.clip(layer, 0, 1) * 255 + 1e-6) / 255
    layer = np.round(magick_motion(layer, radius, sigma, rng.uniform(-135, -45)) * 255) / 255
    grey = (0.299 * x[..., 0] + 0.587 * x[..., 1] + 0.114 * x[..., 2])[..., None]
    return share * x + (1 - share) * np.maximum(x, grey * 1.5 + 0.5) + layer + np.rot90(layer, k=2)


def diamond_square(size, rng, decay):
    """One point at a time, on a torus."""
    heights, step, spread = np.zeros((size, size)), size, 100.0
    while step >= 2:
        half, count = step // 2, size // step
        for first, second in ((half, half), (0, half), (half, 0)):
            drawn = rng.uniform(-spread, spread, (count, count))
            for i in range(count):
                for j in range(count):
                    row, column = i * step + first, j * step + second
                    around = ((-half, 0), (half, 0), (0, -half), (0, half))
                    if first and second:
                        around = ((-half, -half), (-half, half), (half, -half), (half, half))
                    mean = np.mean([heights[(row + a) % size, (column + b) % size] for a, b in around])
                    heights[row, column] = mean + spread * drawn[i, j]
        step, spread = half, spread / decay
    heights -= heights.min()
    return heights / heights.max()


def foggy(x, rng, strength, decay):
    edge = len(x)
    size = 1 << (edge - 1).bit_length()
    landscape = diamond_square(size, rng, decay)[:edge, :edge, None]
    return (x + strength * landscape) * x.max() / (x.max() + strength)


def stretched(x, rng, strength, sigma, shift):
    edge = len(x)
    strength, sigma, shift = strength * edge, sigma * edge, shift * edge
    centre, reach = edge // 2, edge // 3
    corners = np.array(
        [[centre + reach, centre + reach], [centre + reach, centre - reach], [centre - reach] * 2], float
    )
    moved = corners + rng.uniform(-shift, shift, size=corners.shape)
    back = np.linalg.solve(np.c_[moved, np.ones(3)], corners).T  # (x, y) of the result -> (x, y) of the image
    matrix, offset = back[::-1, 1::-1], back[::-1, 2]  # (row, column)
    x = per_channel(lambda band: ndimage.affine_transform(band, matrix, offset, order=1, mode="mirror"), x)
    field = [
        ndimage.gaussian_filter(rng.uniform(-1, 1, size=(edge, edge)), sigma, mode="reflect", truncate=3) * strength
        for _ in range(2)
    ]
    rows, columns = np.mgrid[:edge, :edge]
    places = [rows + field[1], columns + field[0]]
    return per_channel(lambda band: ndimage.map_coordinates(band, places, order=1, mode="reflect"), x)


def salted(x, rng, share):
    changed, white = rng.random(x.shape) <= share, rng.random(x.shape) <= 0.5
    x = x.copy()
    x[changed & white], x[changed & ~white] = 1, 0
    return x


ORACLES = {  # name, constants for images of this edge, severity -> function of ours, the authors' formula with their constants
    ("gaussian_noise", 32, 4): (noise.gaussian_noise, lambda x, rng: x + rng.normal(size=x.shape, scale=0.09)),
    ("gaussian_noise", 224, 2): (noise.gaussian_noise, lambda x, rng: x + rng.normal(size=x.shape, scale=0.12)),
    ("shot_noise", 32, 3): (noise.shot_noise, lambda x, rng: rng.poisson(x * 100) / 100),
    ("shot_noise", 224, 5): (noise.shot_noise, lambda x, rng: rng.poisson(x * 3) / 3),
    ("impulse_noise", 32, 5): (noise.impulse_noise, lambda x, rng: salted(x, rng, 0.07)),
    ("impulse_noise", 224, 4): (noise.impulse_noise, lambda x, rng: salted(x, rng, 0.17)),
    ("speckle_noise", 32, 3): (noise.speckle_noise, lambda x, rng: x + x * rng.normal(size=x.shape, scale=0.12)),
    ("speckle_noise", 224, 3): (noise.speckle_noise, lambda x, rng: x + x * rng.normal(size=x.shape, scale=0.35)),
    ("gaussian_blur", 32, 2): (blur.gaussian_blur, lambda x, rng: gaussian(x, 0.6)),
    ("gaussian_blur", 224, 5): (blur.gaussian_blur, lambda x, rng: gaussian(x, 6)),
    ("glass_blur", 32, 5): (blur.glass_blur, lambda x, rng: noisy_glass(x, rng, 0.4, 1, 2)),
    ("glass_blur", 224, 4): (blur.glass_blur, lambda x, rng: noisy_glass(x, rng, 1.1, 3, 2)),
    ("defocus_blur", 32, 3): (
        blur.defocus_blur, lambda x, _: per_channel(lambda b: ndimage.convolve(b, disk_kernel(0.5, 0.6), mode="mirror"), x),
    ),
    ("defocus_blur", 224, 5): (
        blur.defocus_blur, lambda x, _: per_channel(lambda b: ndimage.convolve(b, disk_kernel(10, 0.5), mode="mirror"), x),
    ),
    ("motion_blur", 32, 5): (
        blur.motion_blur, lambda x, rng: np.round(magick_motion(x, 9, 2.5, rng.uniform(-45, 45)) * 255) / 255,
    ),
    ("motion_blur", 224, 1): (
        blur.motion_blur, lambda x, rng: np.round(magick_motion(x, 10, 3, rng.uniform(-45, 45)) * 255) / 255,
    ),
    ("zoom_blur", 32, 2): (blur.zoom_blur, lambda x, rng: zoomed(x, np.arange(1, 1.11, 0.01))),
    ("zoom_blur", 224, 5): (blur.zoom_blur, lambda x, rng: zoomed(x, np.arange(1, 1.31, 0.03))),
    ("snow", 32, 4): (weather.snow, lambda x, rng: snowy(x, rng, 0.25, 0.3, 2.25, 0.6, 12, 6, 0.85)),
    ("snow", 224, 2): (weather.snow, lambda x, rng: snowy(x, rng, 0.2, 0.3, 2, 0.5, 12, 4, 0.7)),
    ("fog", 32, 3): (weather.fog, lambda x, rng: foggy(x, rng, 0.75, 2.5)),
    ("fog", 224, 5): (weather.fog, lambda x, rng: foggy(x, rng, 3, 1.4)),
    ("brightness", 32, 5): (
        weather.brightness, lambda x, rng: hsv_changed(x, lambda h, s, v: (h, s, min(v + 0.3, 1))),
    ),
    ("brightness", 224, 4): (
        weather.brightness, lambda x, rng: hsv_changed(x, lambda h, s, v: (h, s, min(v + 0.4, 1))),
    ),
    ("contrast", 32, 5): (weather.contrast, lambda x, rng: (x - x.mean((0, 1))) * 0.15 + x.mean((0, 1))),
    ("contrast", 224, 1): (weather.contrast, lambda x, rng: (x - x.mean((0, 1))) * 0.4 + x.mean((0, 1))),
    ("saturate", 32, 5): (
        weather.saturate, lambda x, rng: hsv_changed(x, lambda h, s, v: (h, min(s * 2.5 + 0.2, 1), v)),
    ),
    ("saturate", 224, 1): (weather.saturate, lambda x, rng: hsv_changed(x, lambda h, s, v: (h, s * 0.3, v))),
    ("elastic_transform", 32, 3): (digital.elastic_transform, lambda x, rng: stretched(x, rng, 0.08, 0.06, 0.06)),
    ("elastic_transform", 32, 1): (digital.elastic_transform, lambda x, rng: stretched(x, rng, 0, 0, 0.08)),
    ("elastic_transform", 224, 5): (
        digital.elastic_transform, lambda x, rng: stretched(x, rng, *(244 / 224 * c for c in (0.12, 0.01, 0.02))),
    ),
    ("pixelate", 32, 3): (digital.pixelate, lambda x, rng: resized_by_boxes(x, 0.85)),
    ("pixelate", 224, 5): (digital.pixelate, lambda x, rng: resized_by_boxes(x, 0.25)),
    ("jpeg_compression", 32, 3): (digital.jpeg_compression, lambda x, rng: decoded_jpeg(x, 58)),
    ("jpeg_compression", 224, 2): (digital.jpeg_compression, lambda x, rng: decoded_jpeg(x, 18)),
}  # fmt: skip


@pytest.mark.parametrize(("name", "table", "severity"), ORACLES, ids=str)
def test_corruption_equals_the_authors_formula(name, table, severity):
    ours, oracle = ORACLES[name, table, severity]
    x = image(SIZES[table]) / 255
    values = constants(name, severity, table)
    found = ours(x.copy(), np.random.default_rng(7), *values)
    np.testing.assert_allclose(found, oracle(x.copy(), np.random.default_rng(7)), rtol=0, atol=1e-9)


def test_every_corruption_has_an_oracle_for_both_sizes():
    assert {(name, table) for name, table, _ in ORACLES} == {(name, table) for name in CORRUPTIONS for table in SIZES}
    assert len(BENCHMARK) == 14


@pytest.mark.parametrize("edge", [5, 32, 33])
@pytest.mark.parametrize("boundary", ["nearest", "reflect", "mirror"])
def test_boundaries_equal_those_of_scipy(edge, boundary):
    x = np.random.default_rng(0).random((edge, edge + 2, 2))
    found = filters.smooth(x, 2.0, getattr(filters, boundary))
    np.testing.assert_allclose(found, gaussian(x, 2.0, boundary), atol=1e-12)
    places = np.random.default_rng(1).uniform(-4, edge + 3, (2, 9, 8))
    expected = per_channel(lambda band: ndimage.map_coordinates(band, places, order=1, mode=boundary), x)
    np.testing.assert_allclose(filters.sample(x, *places, getattr(filters, boundary)), expected, atol=1e-12)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_pixels_are_a_function_of_seed_and_index(name):
    picture = image(48)
    before = picture.copy()
    first = corrupt(picture, name, 3, seed=1, index=5)
    np.testing.assert_array_equal(corrupt(picture, name, 3, seed=1, index=5), first)
    np.testing.assert_array_equal(picture, before)
    assert first.dtype == np.uint8
    assert first.shape == picture.shape
    fixed = {
        "defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression", "gaussian_blur", "saturate",
    }  # fmt: skip
    for other in ({"seed": 2, "index": 5}, {"seed": 1, "index": 6}):
        assert np.array_equal(corrupt(picture, name, 3, **other), first) == (name in fixed)


@pytest.mark.parametrize("name", sorted({*CORRUPTIONS} - {"saturate", "elastic_transform"}))
def test_higher_severity_changes_images_more(name):
    """Elastic transforms and saturations are of another kind at severities 1 and 2, as the paper's figures show."""
    pictures = [np.roll(image(32), 3 * k, 1) for k in range(8)]
    errors = [
        np.mean([np.abs(corrupt(each, name, severity, 0, k).astype(float) - each) for k, each in enumerate(pictures)])
        for severity in (1, 3, 5)
    ]
    assert 0 < errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize("name", sorted({*CORRUPTIONS} - {"saturate"}))
def test_grey_images_are_corrupted_as_grey_colours(name):
    grey = image(16, bands=1)
    found = corrupt(grey, name, 4)
    assert found.shape == (16, 16, 1)
    if name not in ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "jpeg_compression"):
        colours = corrupt(grey.repeat(3, 2), name, 4)
        assert np.abs(colours.astype(int) - found).max() <= 1


def test_black_white_and_oblong_images_are_corrupted():
    for picture in (np.zeros((20, 31, 3), np.uint8), np.full((20, 31, 3), 255, np.uint8)):
        for name in CORRUPTIONS:
            assert corrupt(picture, name, 5).shape == (20, 31, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"corruption": "gausian_noise"},
            "corruption='gausian_noise': expected one of .*; did you mean 'gaussian_noise'",
        ),
        ({"corruption": "frost"}, "corruption='frost': expected one of"),
        ({"severity": 6}, "severity=6: expected an integer from 1 to 5"),
        ({"severity": 0}, "severity=0: expected an integer from 1 to 5"),
        ({"image": np.zeros((8, 8, 3))}, r"image: expected .* uint8, got float64 \(8, 8, 3\)"),
        ({"image": np.zeros((8, 8, 4), np.uint8)}, r"image: expected .* uint8, got uint8 \(8, 8, 4\)"),
        ({"image": np.zeros((8, 8, 1), np.uint8), "corruption": "saturate"}, "expected images in colour, got one band"),
    ],
)
def test_invalid_arguments_raise(arguments, message):
    with pytest.raises(ValueError, match=message):
        corrupt(**{"image": image(), "corruption": "fog", "severity": 1, **arguments})
