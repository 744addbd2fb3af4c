"""Reference implementation of views: torchvision's functions, one image at a time, on float images in [0, 1]."""

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from ssl_data.augment.operation_parameters import draw_parameters
from ssl_data.augment.rng import normals
from ssl_data.augment.sampling import permutation
from ssl_data.augment.view_spec import ViewSpec
from ssl_data.sources.source import Pixels
from ssl_data.sources.source import value_range as range_of


def reference_view(image: Pixels, spec: ViewSpec, p: np.void, value_range: tuple[float, float] | None = None) -> Tensor:
    """Return one view of one image, ``(C, size, size) float32``, normalised.

    Parameters
    ----------
    image : array
        ``(H, W, C)`` uint8, uint16 or float32, C from 1 to 64.
    spec : ViewSpec
        The operations.
    p : record
        A row of :func:`ssl_data.augment.sampling.sample_parameters`.
    value_range : tuple of float, optional
        The stored values that become 0 and 1; default: those of the type of the image.

    Raises
    ------
    ValueError
        For operations that need other bands.
    """
    spec.check_bands(image.shape[2])
    low, high = value_range or range_of(image.dtype)
    x = (torch.tensor(image).permute(2, 0, 1).float() - low) / (high - low)
    x = _resized(x, spec, p).clamp(0, 1)  # bicubic overshoots
    if p["flip"]:
        x = tv.horizontal_flip(x)
    if spec.affine:
        shift, shear = [p["shift_x"], p["shift_y"]], [p["shear"], 0.0]
        x = tv.affine(x, p["angle"], shift, p["zoom"], shear, interpolation=InterpolationMode.BILINEAR)
    for operation in permutation(int(p["order"])):
        x = _jitter(x, operation, p)
    if p["grayscale"] and len(x) == 3:
        x = tv.rgb_to_grayscale(x, num_output_channels=3)
    if p["sigma"]:
        x = tv.gaussian_blur(x, [spec.blur_kernel_size] * 2, [p["sigma"]] * 2)
    if p["solarize"]:
        x = tv.solarize(x, 0.5)
    if p["noise"]:
        x = (x + p["noise"] * _noise(x.shape, p["noise_key"])).clamp(0, 1)
    key = torch.from_numpy(np.array([p["noise_key"]]).view(np.int64))
    for operation, drawn in zip(spec.operations, draw_parameters(spec, key)):
        x = operation.reference(
            x, {name: column[0].item() if column.dim() == 1 else column[0] for name, column in drawn.items()}
        )
    mean, std = torch.tensor(spec.mean), torch.tensor(spec.std)
    return (x - mean[:, None, None]) / std[:, None, None]


def _resized(x: Tensor, spec: ViewSpec, p: np.void) -> Tensor:
    how = {"interpolation": InterpolationMode(spec.interpolation), "antialias": True}
    if spec.cropped:
        box = [int(p[name]) for name in ("top", "left", "height", "width")]
        return tv.resized_crop(x, *box, size=[spec.size, spec.size], **how)
    return tv.center_crop(tv.resize(x, [spec.resize or spec.size], **how), [spec.size, spec.size])


def _jitter(x: Tensor, operation: int, p: np.void) -> Tensor:
    """Return ``x (C, size, size)`` changed; other bands than RGB as one grey image, in which they lie below one another."""
    one = x if len(x) == 3 else x.reshape(1, -1, x.shape[2])
    if operation == 0 and p["brightness"] != 1:
        return tv.adjust_brightness(one, p["brightness"]).reshape(x.shape)
    if operation == 1 and p["contrast"] != 1:
        return tv.adjust_contrast(one, p["contrast"]).reshape(x.shape)
    if operation == 2 and p["saturation"] != 1 and len(x) == 3:
        return tv.adjust_saturation(x, p["saturation"])
    if operation == 3 and p["hue"] != 0 and len(x) == 3:
        return tv.adjust_hue(x, p["hue"])
    return x


def _noise(shape: torch.Size, key: np.uint64) -> Tensor:
    """Return standard normal numbers, ``(C, H, W)``, drawn plane by plane."""
    count = shape.numel()
    drawn = [number for block in range(-(-count // 4)) for number in normals(key, block)]
    return torch.tensor(drawn[:count], dtype=torch.float32).reshape(shape)
