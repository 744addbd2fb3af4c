"""The definition of a view: torchvision's functions, one image at a time, on float images in [0, 1]."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from ssl_data.parameters import NOISE_BLOCK, blur_kernel_size, parameters, permutation
from ssl_data.philox import normals
from ssl_data.view_spec import ViewSpec


def reference_view(image: NDArray[np.uint8], spec: ViewSpec, seed: int, epoch: int, index: int, view: int) -> Tensor:
    """Return one view of one image, ``(C, size, size) float32``, normalised.

    Parameters
    ----------
    image : array
        ``(H, W, C) uint8``, C = 1 or 3.
    spec : ViewSpec
        What to do.
    seed, epoch, index, view : int
        Where the parameters come from.
    """
    p = parameters(spec, seed, epoch, index, view, image.shape[0], image.shape[1])
    x = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 255
    box = [int(p[name]) for name in ("top", "left", "height", "width")]
    x = tv.resized_crop(x, *box, size=[spec.size, spec.size], interpolation=InterpolationMode.BILINEAR, antialias=True)
    if p["flip"]:
        x = tv.horizontal_flip(x)
    if spec.affine:
        shift = [p["shift_x"], p["shift_y"]]
        x = tv.affine(x, p["angle"], shift, p["zoom"], [p["shear"], 0.0], interpolation=InterpolationMode.BILINEAR)
    if p["jitter"]:
        for operation in permutation(int(p["order"])):
            x = _jitter(x, operation, p)
    if p["grayscale"] and len(x) == 3:
        x = tv.rgb_to_grayscale(x, num_output_channels=3)
    if p["sigma"]:
        x = tv.gaussian_blur(x, [blur_kernel_size(spec.size)] * 2, [p["sigma"]] * 2)
    if p["solarize"]:
        x = tv.solarize(x, 0.5)
    if p["noise"]:
        x = (x + p["noise"] * _noise(x.shape, seed, epoch, index, view)).clamp(0, 1)
    mean, std = torch.tensor(spec.mean), torch.tensor(spec.std)
    return (x - mean[:, None, None]) / std[:, None, None]


def _jitter(x: Tensor, operation: int, p: dict[str, float]) -> Tensor:
    if operation == 0:
        return tv.adjust_brightness(x, p["brightness"])
    if operation == 1:
        return tv.adjust_contrast(x, p["contrast"])
    if operation == 2:
        return tv.adjust_saturation(x, p["saturation"])
    return tv.adjust_hue(x, p["hue"])


def _noise(shape: torch.Size, seed: int, epoch: int, index: int, view: int) -> Tensor:
    """Return standard normal numbers, ``(C, H, W)``; they are drawn in the order of the pixels' channels."""
    channels, height, width = shape
    blocks = -(-channels * height * width // 4)
    drawn = [
        number
        for block in range(blocks)
        for number in normals(np.uint64(seed), epoch, index, view, NOISE_BLOCK + block)
    ]
    numbers = torch.tensor(drawn[: channels * height * width], dtype=torch.float32)
    return numbers.reshape(height, width, channels).permute(2, 0, 1)
