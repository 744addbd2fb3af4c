"""Crop, resize, mirror and affine map, as products with a matrix for each sample and as a grid."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_data.augment.columns import Columns
from ssl_data.augment.view_spec import ViewSpec


def resized_crop(images: Tensor, p: Columns, spec: ViewSpec, value_range: tuple[float, float]) -> Tensor:
    """Return ``(n, C, size, size) float32`` in [0, 1] from ``images (n, H, W, C)`` with values in ``value_range``."""
    n, height, width, channels = images.shape
    low, high = value_range
    rows = _filters(p["top"], p["height"], height, spec) / (high - low)
    columns = _filters(p["left"], p["width"], width, spec)
    columns = torch.where(p["flip"][:, None, None], columns.flip(1), columns)
    stored = images.reshape(n, height, width * channels).float()
    x = torch.bmm(rows, stored if low == 0 else stored - low)  # (n, size, W * C)
    x = x.reshape(n, spec.size, width, channels).permute(0, 3, 1, 2).reshape(n, channels * spec.size, width)
    x = torch.bmm(x, columns.mT).reshape(n, channels, spec.size, spec.size)
    return x.clamp(0, 1) if spec.interpolation == "bicubic" else x  # its weights are negative in places


def _filters(start: Tensor, length: Tensor, pixels: int, spec: ViewSpec) -> Tensor:
    """Return the matrices that map ``pixels`` to ``spec.size``, ``(n, size, pixels)``: torch's antialiased interpolation.

    A random crop reads nothing outside of ``start`` to ``start + length``; the centre of a resized image does.
    """
    scale = length / spec.size
    stretch = scale.clamp(min=1).float()[:, None, None]
    steps = torch.arange(spec.size, device=start.device, dtype=torch.float64) + 0.5
    centre = start[:, None] + scale[:, None] * steps - 0.5
    place = torch.arange(pixels, device=start.device)
    whole = centre.floor()  # float64 only as far as it is needed: a difference of near numbers
    distance = ((place - whole[..., None].long()).float() - (centre - whole).float()[..., None]).abs() / stretch
    if spec.interpolation == "bicubic":
        weight = _cubic(distance)
    else:
        weight = (1 - distance).clamp(min=0)
    if spec.cropped:
        inside = (place >= start[:, None]) & (place < (start + length)[:, None])
        weight = weight * inside[:, None]
    return weight / weight.sum(2, keepdim=True)


def _cubic(d: Tensor) -> Tensor:
    """Return Keys' cubic with a = -0.5 (Keys 1981) at a distance of ``d``."""
    near = (1.5 * d - 2.5) * d * d + 1
    far = ((2.5 - 0.5 * d) * d - 4) * d + 2
    return torch.where(d < 1, near, torch.where(d < 2, far, 0))


def affine(x: Tensor, p: Columns) -> Tensor:
    """Rotate, shear, zoom and shift about the centre, bilinear; what comes from outside is black."""
    size = x.shape[-1]
    angle, shear, zoom = p["angle"].deg2rad(), p["shear"].deg2rad(), p["zoom"]
    cos, sin, tan = angle.cos(), angle.sin(), shear.tan()
    m = torch.stack([cos - sin * tan, cos * tan + sin, -sin, cos], 1) / zoom[:, None]  # the inverse map
    m0, m1, m3, m4 = m[:, :, None, None].unbind(1)
    line = torch.arange(size, device=x.device, dtype=torch.float64) - (size * 0.5 - 0.5)
    dx = line[None, None, :] - p["shift_x"][:, None, None]
    dy = line[None, :, None] - p["shift_y"][:, None, None]
    grid = torch.stack([m0 * dx + m1 * dy, m3 * dx + m4 * dy], -1) * (2 / size)  # -1 and 1 are the edges
    return F.grid_sample(x, grid.float(), mode="bilinear", padding_mode="zeros", align_corners=False)
