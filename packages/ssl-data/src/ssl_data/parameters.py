"""The parameters of a view: a pure function of (seed, epoch, index, view), drawn by counting.

They are numbers in a row of :data:`NAMES`; whoever executes them (``ssl_data.reference``, ``ssl_data.fused``) draws nothing
himself but the noise. Changing what is drawn here changes every run: ``tests/data`` pins it by a hash.
"""

import math

import numpy as np
from numpy.typing import NDArray

from ssl_data.compiled import compiled
from ssl_data.philox import uniforms
from ssl_data.view_spec import ViewSpec

NAMES = (
    "top", "left", "height", "width", "flip", "angle", "shift_x", "shift_y", "zoom", "shear", "jitter", "brightness",
    "contrast", "saturation", "hue", "order", "grayscale", "sigma", "solarize", "noise",
)  # fmt: skip
NUM_PARAMETERS = len(NAMES)
ATTEMPTS = 10  # at a crop, as torchvision's RandomResizedCrop; then the largest centred crop of a legal ratio
NOISE_BLOCK = 64  # the blocks of random numbers from here on are the noise's


def packed(spec: ViewSpec) -> NDArray[np.float64]:
    """Return the numbers of a spec that the sampler reads, ``(23,) float64``."""
    return np.array(
        [
            *spec.crop_scale, *spec.crop_ratio, spec.flip, spec.rotation, spec.translate, *spec.zoom, spec.shear,
            spec.jitter, spec.brightness, spec.contrast, spec.saturation, spec.hue, spec.grayscale,
            spec.blur, *spec.blur_sigma, spec.solarize, spec.noise, spec.size, float(spec.affine),
        ]
    )  # fmt: skip


def parameters(
    spec: ViewSpec, seed: int, epoch: int, index: int, view: int, height: int, width: int
) -> dict[str, float]:
    """Return the parameters of one view of one image of ``height`` by ``width`` pixels, by name."""
    row = np.zeros(NUM_PARAMETERS)
    sample(packed(spec), np.uint64(seed), epoch, index, view, height, width, row)
    return dict(zip(NAMES, row.tolist()))


@compiled
def _crop(spec, seed, epoch, index, view, height, width, out):
    """Draw a random resized crop (Szegedy et al. 2015, as in torchvision): up to ten attempts, then the centre."""
    low, high = math.log(spec[2]), math.log(spec[3])
    for attempt in range(ATTEMPTS):
        u = uniforms(seed, epoch, index, view, attempt)
        area = height * width * (spec[0] + (spec[1] - spec[0]) * u[0])
        ratio = math.exp(low + (high - low) * u[1])
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            out[0] = math.floor(u[2] * (height - h + 1))
            out[1] = math.floor(u[3] * (width - w + 1))
            out[2], out[3] = h, w
            return
    shape = width / height
    w, h = width, height
    if shape < spec[2]:
        h = round(w / spec[2])
    elif shape > spec[3]:
        w = round(h * spec[3])
    out[0], out[1], out[2], out[3] = (height - h) // 2, (width - w) // 2, h, w


@compiled
def sample(spec, seed, epoch, index, view, height, width, out):
    """Write the parameters of one view into ``out``, ``(NUM_PARAMETERS,) float64``."""
    if spec[0] == 1.0 and spec[2] == 1.0 and spec[3] == 1.0:
        edge = min(height, width)  # no crop: the whole image, or the square in the middle of one that is none
        out[0], out[1], out[2], out[3] = (height - edge) // 2, (width - edge) // 2, edge, edge
    else:
        _crop(spec, seed, epoch, index, view, height, width, out)
    u = np.empty(16, np.float64)
    for block in range(4):
        drawn = uniforms(seed, epoch, index, view, ATTEMPTS + block)
        for k in range(4):
            u[4 * block + k] = drawn[k]
    size = spec[21]
    out[4] = 1.0 if u[0] < spec[4] else 0.0
    out[5] = spec[5] * (2.0 * u[1] - 1.0)
    out[6] = spec[6] * (2.0 * u[2] - 1.0) * size
    out[7] = spec[6] * (2.0 * u[3] - 1.0) * size
    out[8] = spec[7] + (spec[8] - spec[7]) * u[4]
    out[9] = spec[9] * (2.0 * u[5] - 1.0)
    out[10] = 1.0 if u[6] < spec[10] else 0.0
    out[11] = 1.0 + spec[11] * (2.0 * u[7] - 1.0)
    out[12] = 1.0 + spec[12] * (2.0 * u[8] - 1.0)
    out[13] = 1.0 + spec[13] * (2.0 * u[9] - 1.0)
    out[14] = spec[14] * (2.0 * u[10] - 1.0)
    out[15] = math.floor(u[11] * 24.0)
    out[16] = 1.0 if u[12] < spec[15] else 0.0
    out[17] = spec[17] + (spec[18] - spec[17]) * u[14] if u[13] < spec[16] else 0.0
    out[18] = 1.0 if u[15] < spec[19] else 0.0
    out[19] = spec[20]


def permutation(order: int) -> tuple[int, int, int, int]:
    """Return the ``order``-th of the 24 orders of brightness (0), contrast (1), saturation (2), hue (3)."""
    left, chosen = [0, 1, 2, 3], []
    for base in (6, 2, 1, 1):
        chosen.append(left.pop(order // base))
        order %= base
    return chosen[0], chosen[1], chosen[2], chosen[3]


ORDERS = np.array([permutation(order) for order in range(24)], dtype=np.int64)  # (24, 4)


def blur_kernel_size(size: int) -> int:
    """Return the width of the blur's kernel for views of ``size`` pixels: a tenth, made odd (SimCLR), at least 3."""
    return max(3, int(0.1 * size) // 2 * 2 + 1)
