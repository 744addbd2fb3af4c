"""One view of many samples, as batched torch operations."""

import numpy as np
import torch
from torch import Tensor

from ssl_data.augment.backends.gpu.color import Jitter, grayscale, solarize
from ssl_data.augment.backends.gpu.filters import Blur, noise
from ssl_data.augment.backends.gpu.geometry import affine, resized_crop
from ssl_data.augment.columns import columns
from ssl_data.augment.operation_parameters import draw_parameters
from ssl_data.augment.view_spec import ViewSpec
from ssl_data.sources.source import value_range

_RANGES = {getattr(torch, name): value_range(np.dtype(name)) for name in ("uint8", "uint16", "float32")}


class GPUView:
    """Makes the view of a spec on a device.

    Parameters
    ----------
    spec : ViewSpec
        The operations.
    channels : int
        C of the images, 1 to 64.
    device : torch.device
        Where images and parameters are.
    value_range : tuple of float, optional
        The stored values that become 0 and 1; default: those of the type of the images.

    Raises
    ------
    ValueError
        For operations that need other bands.
    """

    def __init__(
        self, spec: ViewSpec, channels: int, device: torch.device, value_range: tuple[float, float] | None = None
    ) -> None:
        spec.check_bands(channels)
        self.spec, self._range = spec, value_range
        mean, inverse_std = spec.statistics(channels)
        self._mean = torch.tensor(mean, device=device)[:, None, None]
        self._inverse_std = torch.tensor(inverse_std, device=device)[:, None, None]
        self._jitter = Jitter(spec.hue > 0, device) if spec.jitter else None
        self._blur = Blur(spec.size, spec.blur_kernel_size, device) if spec.blur else None

    @torch.no_grad()
    def make(self, images: Tensor, rows: Tensor, parameters: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the view of ``images[rows]``, ``(n, C, size, size)`` of ``dtype``, channels_last.

        Parameters
        ----------
        images : Tensor
            ``(M, H, W, C)`` uint8, uint16 or float32.
        rows : Tensor
            ``(n,) int64``: which images.
        parameters : Tensor
            ``(n, bytes) uint8``: the rows of :func:`ssl_data.augment.sampling.sample_parameters`, as they lie in memory.
        dtype : torch.dtype
            float32 or bfloat16.
        """
        spec, p = self.spec, columns(parameters)
        with torch.autocast(images.device.type, enabled=False):  # matrix products below are pixels, not features
            x = resized_crop(images.index_select(0, rows), p, spec, self._range or _RANGES[images.dtype])
            if spec.affine:
                x = affine(x, p)
            if self._jitter is not None:
                x = self._jitter(x, p)
            if spec.grayscale:
                x = grayscale(x, p)
            if self._blur is not None:
                x = self._blur(x, p)
            if spec.solarize:
                x = solarize(x, p)
            if spec.noise:
                x = noise(x, p)
            for operation, drawn in zip(spec.operations, draw_parameters(spec, p["noise_key"])):
                x = operation.gpu(x, drawn)
            x = (x - self._mean) * self._inverse_std
            return x.to(dtype, memory_format=torch.channels_last)
