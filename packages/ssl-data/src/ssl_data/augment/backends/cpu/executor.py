"""One view of many samples, in one call without the interpreter."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_data.augment.backends.cpu.affine import affine
from ssl_data.augment.backends.cpu.color import grayscale, jitter, solarize
from ssl_data.augment.backends.cpu.crop import resized_crop, room_for
from ssl_data.augment.backends.cpu.filters import blur, noise
from ssl_data.augment.backends.cpu.normalize import normalise, round_to_bfloat16
from ssl_data.augment.jit import compiled
from ssl_data.augment.operation_parameters import draw_parameters
from ssl_data.augment.view_spec import ViewSpec
from ssl_data.sources.source import Pixels, value_range


class CPUView:
    """Makes the view of a spec, for samples of ``channels`` channels.

    Parameters
    ----------
    spec : ViewSpec
        The operations.
    channels : int
        C of the images, 1 to 64.
    value_range : tuple of float, optional
        The stored values that become 0 and 1; default: those of the type of the images.

    Raises
    ------
    ValueError
        For operations that need other bands.
    """

    def __init__(self, spec: ViewSpec, channels: int, value_range: tuple[float, float] | None = None) -> None:
        spec.check_bands(channels)
        self.spec, self._range = spec, value_range
        self.shape = (spec.size, spec.size, channels)
        self._mean, self._inverse_std = (np.array(numbers, np.float32) for numbers in spec.statistics(channels))
        self._numbers = spec.cropped, spec.interpolation == "bicubic", spec.blur_kernel_size

    def fill(self, images: Pixels, rows: NDArray[np.int64], parameters: NDArray[np.void], out: Tensor) -> None:
        """Write the view of ``images[rows]`` into ``out``.

        Parameters
        ----------
        images : array
            ``(M, H, W, C)`` uint8, uint16 or float32, contiguous.
        rows : array
            ``(n,) int64``: which images.
        parameters : array
            ``(n,)``, of :func:`ssl_data.augment.sampling.sample_parameters`.
        out : Tensor
            ``(n, size, size, C)`` float32 or bfloat16, contiguous, in the processor's memory.
        """
        low, high = self._range or value_range(images.dtype)
        zero = None if low == 0 and images.dtype == np.uint8 else np.float32(low)  # None: no subtraction
        scale = zero, np.float32(1 / (high - low))
        if self.spec.operations:
            self._fill_extended(images, rows, parameters, scale, out)
            return
        half = 1 if out.dtype == torch.bfloat16 else None  # numpy has no such type: its bits are written
        array = out.numpy() if half is None else out.view(torch.uint16).numpy()
        _fill(images, rows, parameters, *scale, self._mean, self._inverse_std, array, half, *self._numbers)

    def _fill_extended(
        self,
        images: Pixels,
        rows: NDArray[np.int64],
        parameters: NDArray[np.void],
        scale: tuple[np.float32 | None, np.float32],
        out: Tensor,
    ) -> None:
        """Write a view with further operations: those run between the compiled pass and the normalisation."""
        x = np.empty(out.shape, np.float32)
        neutral = np.zeros_like(self._mean), np.ones_like(self._inverse_std)
        _fill(images, rows, parameters, *scale, *neutral, x, None, *self._numbers)
        keys = torch.from_numpy(np.ascontiguousarray(parameters["noise_key"]).view(np.int64))
        for operation, drawn in zip(self.spec.operations, draw_parameters(self.spec, keys)):
            operation.cpu(x, {name: column.numpy() for name, column in drawn.items()})
        x -= self._mean
        x *= self._inverse_std
        out.copy_(torch.from_numpy(x))


@compiled
def _fill(images, rows, parameters, zero, unit, mean, inverse_std, out, half, cropped, cubic, kernel_size):
    """Make one view after the other, each through all of its operations; a neutral parameter leaves one out."""
    size, channels, height, width = out.shape[1], out.shape[3], images.shape[1], images.shape[2]
    room = room_for(height, width, channels, size, cubic)
    image, mapped = np.empty((channels, size, size), np.float32), np.empty((channels, size, size), np.float32)
    plane, numbers = np.empty((size, size), np.float32), np.empty((size * size, channels), np.float32)
    for i in range(len(rows)):
        p, x = parameters[i], image
        resized_crop(images[rows[i]].reshape(height, width * channels), p, cropped, cubic, zero, unit, room, x)
        if p.angle != 0.0 or p.shear != 0.0 or p.shift_x != 0.0 or p.shift_y != 0.0 or p.zoom != 1.0:
            affine(x, p, mapped)
            x = mapped
        planes, pixels = x.reshape(channels, size * size), plane.reshape(-1)
        jitter(planes, p, pixels)
        if p.grayscale and channels == 3:
            grayscale(planes, pixels)
        if p.sigma != 0.0:
            blur(x, p.sigma, kernel_size, plane)
        if p.solarize:
            solarize(planes)
        if p.noise != 0.0:
            noise(planes, p.noise, p.noise_key)
        if half is None:
            normalise(planes, mean, inverse_std, out[i].reshape(size * size, channels))
        else:
            normalise(planes, mean, inverse_std, numbers)
            round_to_bfloat16(numbers.reshape(-1), out[i].reshape(-1))
