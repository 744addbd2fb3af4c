"""Make ``affine_digits.npz``: scikit-learn's digits, each placed at random in a larger frame, in the manner of affNIST.

    python3 runs/bench/affine_digits.py packages/ssl-data/src/ssl_data/affine_digits.npz

affNIST (Tieleman, https://www.cs.toronto.edu/~tijmen/affNIST/) applies random affine maps to MNIST's digits of 28 pixels in a
frame of 40. Here the frame has 16 pixels, and a digit of 8 is enlarged to 11.2, which is the same ratio; the maps have the
ranges below, and all ink stays in the frame. One image is made of each digit; labels and order are those of ``digits.npz``.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import ssl_data

DIGITS = Path(ssl_data.__file__).with_name("digits.npz")
FRAME = 16  # pixels
SCALE = 28 / 40  # edge of an upright digit over that of the frame
DEGREES = 20.0  # turned by at most
SHEAR = 0.2  # sheared by at most
ZOOM = 0.8, 1.2  # scaled by, in x and in y
SEED = 0


def maps(count: int, generator: torch.Generator) -> Tensor:
    """Return ``count`` random linear maps ``(count, 2, 2)`` of the plane: scaling, then shear in x, then rotation."""

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, generator=generator) * (high - low) + low

    angle, shear = torch.deg2rad(uniform(-DEGREES, DEGREES)), uniform(-SHEAR, SHEAR)
    zoom = SCALE * torch.stack([uniform(*ZOOM), uniform(*ZOOM)], 1)
    rows = [angle.cos(), -angle.sin(), angle.sin(), angle.cos()]
    sheared = torch.eye(2).repeat(count, 1, 1)
    sheared[:, 0, 1] = shear
    return torch.stack(rows, 1).view(count, 2, 2) @ sheared @ torch.diag_embed(zoom)


def shift(image: Tensor, linear: Tensor, generator: torch.Generator) -> Tensor:
    """Return a shift ``(2,)`` that leaves all ink of the mapped ``image`` in the frame, or its middle if it is too large.

    Coordinates are those of :func:`torch.nn.functional.affine_grid`: image and frame both reach from -1 to 1.
    """
    rows, columns = torch.nonzero(image, as_tuple=True)
    pixel = 2 / len(image)
    x, y = ((each.min() * pixel - 1, (each.max() + 1) * pixel - 1) for each in (columns, rows))
    corners = torch.cartesian_prod(torch.stack(x), torch.stack(y)) @ linear.T
    low, high = -1 - corners.amin(0), 1 - corners.amax(0)
    position = torch.rand(2, generator=generator)
    return low + (high - low) * position if (high > low).all() else (low + high) / 2


def place(images: np.ndarray, seed: int = SEED) -> np.ndarray:
    """Return each of ``images``, uint8 ``(N, H, H)``, in a frame of its own: uint8 ``(N, FRAME, FRAME)``, bicubic."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.from_numpy(images).float()[:, None]
    linear = maps(len(pixels), generator)
    shifts = torch.stack([shift(image[0], each, generator) for image, each in zip(pixels, linear)])
    inverse = torch.linalg.inv(linear)
    theta = torch.cat([inverse, -inverse @ shifts[:, :, None]], 2)
    grid = F.affine_grid(theta, [len(pixels), 1, FRAME, FRAME], align_corners=False)
    placed = F.grid_sample(pixels, grid, mode="bicubic", align_corners=False)
    return placed.clamp(0, 255).round().byte()[:, 0].numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    with np.load(DIGITS, allow_pickle=False) as file:
        images, labels = file["images"], file["labels"]
    np.savez_compressed(out, images=place(images), labels=labels)


if __name__ == "__main__":
    main()
