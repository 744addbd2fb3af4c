"""The parameters of a view: a pure function of (seed, epoch, index, view), by a counter-based generator.

They are rows of a table of type :data:`PARAMETERS`. Backends draw no random numbers but the pixels of the noise.
Written by hand since torchvision draws from a global state, and would draw other numbers on other workers.

============================  =================================================================================================
field                         meaning
============================  =================================================================================================
top, left, height, width      the box of the stored image that becomes the view, in its pixels; whole numbers for a random
                              resized crop, fractions for the centre of a resized image
image_height, image_width     of the stored image, in pixels
flip                          whether the view is mirrored, left to right
angle, shear                  degrees, counter-clockwise as in torchvision's ``affine``; 0: none
shift_x, shift_y              pixels of the view; 0: none
zoom                          factor; 1: none
brightness, contrast,         factors of the colour jitter; 1: none
saturation
hue                           turn of the colour circle, from -0.5 to 0.5; 0: none
order                         which of the 24 orders the four have, see :data:`ORDERS`
grayscale                     whether the colours are lost
sigma                         of the Gaussian blur, in pixels of the view; 0: none
solarize                      whether the pixels above one half are inverted
noise                         standard deviation of the Gaussian noise, on pixels from 0 to 1; 0: none
noise_key                     64 bits from which the noise is counted
============================  =================================================================================================
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ssl_data.augment.jit import compiled
from ssl_data.augment.rng import uniforms, words
from ssl_data.augment.view_spec import ViewSpec

# Version of the parameters for a given (seed, epoch, index, view). Other parameters change every run: then add one here, a line
# to the changelog and the new hashes to tests/data/augment/test_sampling.py.
PARAMETERS_VERSION = 1

_NUMBERS = ("top", "left", "height", "width", "image_height", "image_width")
_FACTORS = ("angle", "shear", "shift_x", "shift_y", "zoom", "brightness", "contrast", "saturation", "hue")
PARAMETERS = np.dtype(
    [(name, "f8") for name in (*_NUMBERS, *_FACTORS, "sigma", "noise")]
    + [("order", "i8"), ("noise_key", "u8")]
    + [(name, "?") for name in ("flip", "grayscale", "solarize")],
    align=True,
)
ATTEMPTS = 10  # at a crop, as torchvision's RandomResizedCrop; then the largest centred crop of an allowed ratio

_SPEC = np.dtype(
    [(name, "f8") for name in (
        "area_low", "area_high", "ratio_low", "ratio_high", "flip", "rotation", "translate", "zoom_low", "zoom_high", "shear",
        "jitter", "brightness", "contrast", "saturation", "hue", "grayscale", "blur", "sigma_low", "sigma_high", "solarize",
        "noise",
    )] + [("size", "i8"), ("resize", "i8"), ("cropped", "?")],
    align=True,
)  # fmt: skip


def sample_parameters(
    spec: ViewSpec, seed: int, epoch: int, ids: ArrayLike, view: int, heights: ArrayLike, widths: ArrayLike
) -> NDArray[np.void]:
    """Return the parameters of view number ``view`` of some samples, ``(n,)`` of type :data:`PARAMETERS`.

    Parameters
    ----------
    spec : ViewSpec
        The operations and their ranges.
    seed, epoch, view : int
        Parts of the key, of 64, 32 and 12 bits.
    ids : int or array
        ``(n,)``: the samples' ids, the rest of the key.
    heights, widths : int or array
        Pixels of the stored images, ``(n,)`` or one for all.

    Examples
    --------
    >>> from ssl_data import views
    >>> spec = views("simclr", size=32)[0]
    >>> drawn = sample_parameters(spec, seed=0, epoch=0, ids=[7, 8], view=0, heights=32, widths=32)
    >>> drawn["hue"].shape
    (2,)
    >>> bool(drawn[1] == sample_parameters(spec, seed=0, epoch=0, ids=8, view=0, heights=32, widths=32)[0])
    True
    """
    keys = np.ascontiguousarray(ids, np.int64).reshape(-1)
    sizes = [
        np.ascontiguousarray(np.broadcast_to(np.asarray(size, np.int64), keys.shape)) for size in (heights, widths)
    ]
    drawn = np.zeros(len(keys), PARAMETERS)
    _sample(_packed(spec), np.uint64(seed), epoch, keys, view, *sizes, drawn)
    return drawn


def scaled_boxes(parameters: NDArray[np.void], shrink: int) -> NDArray[np.void]:
    """Return the parameters ``(n,)`` for images that were decoded at ``1 / shrink`` of their size."""
    scaled = parameters.copy()
    for name in _NUMBERS:
        scaled[name] /= shrink
    return scaled


def _packed(spec: ViewSpec) -> NDArray[np.void]:
    """Return the numbers of a spec that the sampler reads, one record."""
    packed = np.zeros(1, _SPEC)
    for name in ("flip", "rotation", "translate", "shear", "jitter", "brightness", "contrast", "saturation", "hue",
                 "grayscale", "blur", "solarize", "noise", "size", "cropped"):  # fmt: skip
        packed[name] = getattr(spec, name)
    packed["resize"] = spec.resize or spec.size
    for name in ("area", "ratio", "zoom", "sigma"):
        field = {"area": "crop_scale", "ratio": "crop_ratio", "sigma": "blur_sigma"}.get(name, name)
        packed[f"{name}_low"], packed[f"{name}_high"] = getattr(spec, field)
    return packed


@compiled
def _random_crop(spec, seed, epoch, index, view, p):
    """Draw a random resized crop (Szegedy et al. 2015, as in torchvision): up to ten attempts, then the centre."""
    height, width = p.image_height, p.image_width
    low, high = math.log(spec.ratio_low), math.log(spec.ratio_high)
    for attempt in range(ATTEMPTS):
        u = uniforms(seed, epoch, index, view, attempt)
        area = height * width * (spec.area_low + (spec.area_high - spec.area_low) * u[0])
        ratio = math.exp(low + (high - low) * u[1])
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            p.top = math.floor(u[2] * (height - h + 1))
            p.left = math.floor(u[3] * (width - w + 1))
            p.height, p.width = h, w
            return
    shape = width / height
    w, h = width, height
    if shape < spec.ratio_low:
        h = round(w / spec.ratio_low)
    elif shape > spec.ratio_high:
        w = round(h * spec.ratio_high)
    p.top, p.left, p.height, p.width = (height - h) // 2, (width - w) // 2, h, w


@compiled
def _centre(spec, p):
    """Set the box that torchvision's Resize (the shorter side) and CenterCrop would keep."""
    height, width = p.image_height, p.image_width
    short = min(height, width)
    rows, columns = math.floor(spec.resize * height / short), math.floor(spec.resize * width / short)
    pixels_y, pixels_x = height / rows, width / columns  # stored pixels in a pixel of the view
    p.top, p.height = pixels_y * round((rows - spec.size) / 2), pixels_y * spec.size
    p.left, p.width = pixels_x * round((columns - spec.size) / 2), pixels_x * spec.size


@compiled
def _factor(change, u):
    """Return the number at ``u`` of the range from 1 - change, at least 0, to 1 + change, as in torchvision's ColorJitter."""
    return 1.0 + change * (2.0 * u - 1.0) if change <= 1.0 else (1.0 + change) * u


@compiled
def _sample(specs, seed, epoch, ids, view, heights, widths, out):
    """Fill ``out (n,)``."""
    spec = specs[0]
    u = np.empty(16, np.float64)
    for i in range(len(ids)):
        p = out[i]
        p.image_height, p.image_width = heights[i], widths[i]
        if spec.cropped:
            _random_crop(spec, seed, epoch, ids[i], view, p)
        else:
            _centre(spec, p)
        for block in range(4):
            drawn = uniforms(seed, epoch, ids[i], view, ATTEMPTS + block)
            for k in range(4):
                u[4 * block + k] = drawn[k]
        p.flip = u[0] < spec.flip
        p.angle = spec.rotation * (2.0 * u[1] - 1.0)
        p.shift_x = spec.translate * (2.0 * u[2] - 1.0) * spec.size
        p.shift_y = spec.translate * (2.0 * u[3] - 1.0) * spec.size
        p.zoom = spec.zoom_low + (spec.zoom_high - spec.zoom_low) * u[4]
        p.shear = spec.shear * (2.0 * u[5] - 1.0)
        jitter = 1.0 if u[6] < spec.jitter else 0.0
        p.brightness = _factor(jitter * spec.brightness, u[7])
        p.contrast = _factor(jitter * spec.contrast, u[8])
        p.saturation = _factor(jitter * spec.saturation, u[9])
        p.hue = jitter * spec.hue * (2.0 * u[10] - 1.0)
        p.order = math.floor(u[11] * 24.0)
        p.grayscale = u[12] < spec.grayscale
        p.sigma = spec.sigma_low + (spec.sigma_high - spec.sigma_low) * u[14] if u[13] < spec.blur else 0.0
        p.solarize = u[15] < spec.solarize
        p.noise = spec.noise
        a, b, _, _ = words(seed, epoch, ids[i], view, ATTEMPTS + 4)
        p.noise_key = (a << np.uint64(32)) | b


def permutation(order: int) -> tuple[int, int, int, int]:
    """Return the ``order``-th of the 24 orders of brightness (0), contrast (1), saturation (2), hue (3)."""
    left, chosen = [0, 1, 2, 3], []
    for base in (6, 2, 1, 1):
        chosen.append(left.pop(order // base))
        order %= base
    return chosen[0], chosen[1], chosen[2], chosen[3]


ORDERS = np.array([permutation(order) for order in range(24)], dtype=np.int64)  # (24, 4)
