"""One view of many samples, in one call without the interpreter."""

import math

import numpy as np
from numpy.typing import NDArray

from ssl_data.compiled import compiled
from ssl_data.fused.affine import affine
from ssl_data.fused.colour import brightness, contrast, grayscale, hue, saturation, solarize
from ssl_data.fused.crop import resized_crop
from ssl_data.fused.filters import blur, noise
from ssl_data.parameters import NUM_PARAMETERS, ORDERS, blur_kernel_size, packed, sample
from ssl_data.view_spec import ViewSpec

_ORDERS = ORDERS  # a constant for the compiler


class FusedView:
    """A spec, ready to make its view of samples of ``channels`` channels.

    Parameters
    ----------
    spec : ViewSpec
        What to do.
    channels : int
        C of the images, 1 or 3.
    """

    def __init__(self, spec: ViewSpec, channels: int) -> None:
        for name, numbers in (("mean", spec.mean), ("std", spec.std)):
            if len(numbers) not in (1, channels):
                raise ValueError(
                    f"data.views: {name}={numbers}: expected one number, or one for each of {channels} channels"
                )
        self.shape = (spec.size, spec.size, channels)
        self._spec = packed(spec)
        self._mean = np.broadcast_to(np.array(spec.mean, np.float32), channels).copy()
        self._inverse_std = 1 / np.broadcast_to(np.array(spec.std, np.float32), channels)
        coloured, jitter = channels == 3, spec.jitter > 0

        def used(flag: bool) -> int | None:
            """Return None for an operation that the spec leaves out: it is then left out of the compiled code as well."""
            return 1 if flag else None

        self._operations = (
            used(spec.affine),
            used(jitter and spec.brightness > 0),
            used(jitter and spec.contrast > 0),
            used(jitter and spec.saturation > 0 and coloured),
            used(jitter and spec.hue > 0 and coloured),
            used(spec.grayscale > 0 and coloured),
            blur_kernel_size(spec.size) if spec.blur > 0 else None,
            used(spec.solarize > 0),
            used(spec.noise > 0),
        )

    def fill(
        self,
        images: NDArray[np.uint8],
        rows: NDArray[np.int64],
        ids: NDArray[np.int64],
        seed: int,
        epoch: int,
        view: int,
        out: NDArray[np.float32],
    ) -> None:
        """Write view number ``view`` of ``images[rows]`` into ``out``.

        Parameters
        ----------
        images : array
            ``(M, H, W, C) uint8``, contiguous.
        rows, ids : array
            ``(n,) int64``: which images, and what their randomness is keyed on.
        seed, epoch, view : int
            The rest of the key.
        out : array
            ``(n, size, size, C) float32``, contiguous.
        """
        place = (np.uint64(seed), epoch, ids, view)
        _fill(images, rows, self._spec, *place, self._mean, self._inverse_std, out, *self._operations)


@compiled
def _fill(
    images, rows, spec, seed, epoch, ids, view, mean, inverse_std, out,
    use_affine, use_brightness, use_contrast, use_saturation, use_hue, use_grayscale, kernel_size, use_solarize, use_noise,
):  # fmt: skip
    size, channels, height, width = out.shape[1], out.shape[3], images.shape[1], images.shape[2]
    widest = 2 * int(math.ceil(max(1.0, max(height, width) / size))) + 2
    taps = np.empty(2, np.int64)
    at, weight = np.empty((2, widest, size), np.int64), np.empty((2, widest, size), np.float32)
    row = np.empty(width * channels, np.float32)
    image, mapped = np.empty((channels, size, size), np.float32), np.empty((channels, size, size), np.float32)
    plane = np.empty((size, size), np.float32)
    pixels = plane.reshape(-1)
    p = np.empty(NUM_PARAMETERS, np.float64)
    for i in range(len(rows)):
        sample(spec, seed, epoch, ids[i], view, height, width, p)
        stored = images[rows[i]].reshape(height, width * channels)
        x = image
        resized_crop(stored, p, taps, at, weight, row, x)
        if use_affine is not None:
            affine(x, p, mapped)
            x = mapped
        planes = x.reshape(channels, size * size)
        if p[10] != 0.0:
            for step in range(4):
                operation = _ORDERS[int(p[15]), step]
                if operation == 0:
                    if use_brightness is not None:
                        brightness(planes, np.float32(p[11]))
                elif operation == 1:
                    if use_contrast is not None:
                        contrast(planes, np.float32(p[12]), pixels)
                elif operation == 2:
                    if use_saturation is not None:
                        saturation(planes, np.float32(p[13]), pixels)
                elif use_hue is not None:
                    hue(planes, np.float32(p[14]))
        if use_grayscale is not None and p[16] != 0.0:
            grayscale(planes, pixels)
        if kernel_size is not None and p[17] != 0.0:
            blur(x, p[17], kernel_size, plane)
        if use_solarize is not None and p[18] != 0.0:
            solarize(planes)
        if use_noise is not None:
            noise(x, p[19], seed, epoch, ids[i], view)
        target = out[i].reshape(size * size, channels)
        for c in range(channels):
            source, m, s = planes[c], mean[c], inverse_std[c]
            for j in range(size * size):
                target[j, c] = (source[j] - m) * s
