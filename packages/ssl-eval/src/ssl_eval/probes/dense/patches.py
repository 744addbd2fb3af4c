"""Patches of images: tokens and masks that belong together, the contents of a patch, and maps of the size of a mask."""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_eval.validation import check_features, check_tensor

CHUNK_ROWS = 256  # images whose tokens are summed at a time
MAP_ELEMENTS = 2**24  # of the upsampled maps at a time: 64 MiB in float32

Grid = tuple[int, int]


def check_tokens(train_tokens: Tensor, test_tokens: Tensor, grid: Grid | None) -> Grid:
    """Return the grid ``(h, w)`` of tokens ``(N, L, D)``; by default a square one.

    Raises
    ------
    ValueError
        If tokens hold NaN, shapes or devices disagree, or the grid does not have L places.
    """
    for name, tokens in (("train_tokens", train_tokens), ("test_tokens", test_tokens)):
        check_tensor(name, tokens)
        if tokens.ndim != 3 or tokens.shape[1:] != train_tokens.shape[1:]:
            raise ValueError(f"{name} must be (N, L, D), the same L and D in both; got {tuple(tokens.shape)}")
        check_features(name, tokens.flatten(0, 1))
    if train_tokens.device != test_tokens.device:
        raise ValueError(
            f"train_tokens lie on {train_tokens.device} and test_tokens on {test_tokens.device}; move both to one device"
        )
    places = train_tokens.shape[1]
    side = math.isqrt(places)
    if grid is None and side * side != places:
        raise ValueError(
            f"grid=None: {places} tokens are no square; pass grid=(height, width) in patches, and tokens of patches only: "
            "without the class token and registers"
        )
    grid = (side, side) if grid is None else (int(grid[0]), int(grid[1]))
    if min(grid) < 1 or grid[0] * grid[1] != places:
        raise ValueError(f"grid={grid}: expected height times width to be the {places} tokens of an image")
    return grid


def check_maps(name: str, maps: Tensor, tokens: Tensor, grid: Grid) -> None:
    """Raise ``ValueError`` unless ``maps`` is ``(N, H, W)``, one for each image, with a pixel or more in each patch."""
    check_tensor(name, maps)
    if maps.ndim != 3 or len(maps) != len(tokens) or maps.shape[1] < grid[0] or maps.shape[2] < grid[1]:
        raise ValueError(
            f"{name} must be ({len(tokens)}, H, W), one for each image and at least as large as the grid {grid}; "
            f"got {tuple(maps.shape)}"
        )


def patch_sums(values: Tensor, grid: Grid) -> Tensor:
    """Return the sum of each patch, ``(N, L) float64``, of maps ``(N, H, W)``.

    Pixel ``(i, j)`` belongs to patch ``(i * h // H, j * w // W)``: the grid need not divide the size of the map.
    """
    height, width = values.shape[1:]
    rows = torch.arange(height, device=values.device) * grid[0] // height
    columns = torch.arange(width, device=values.device) * grid[1] // width
    by_row = values.new_zeros(len(values), grid[0], width, dtype=torch.float64).index_add_(1, rows, values.double())
    sums = by_row.new_zeros(len(values), *grid).index_add_(2, columns, by_row)
    return sums.flatten(1)


def class_counts(masks: Tensor, grid: Grid, num_classes: int, ignore_index: int) -> Tensor:
    """Return how many pixels of each class a patch has: ``(N, L, K) int32``, without those of ``ignore_index``."""
    height, width = masks.shape[1:]
    rows = torch.arange(height, device=masks.device) * grid[0] // height
    columns = torch.arange(width, device=masks.device) * grid[1] // width
    place = (rows[:, None] * grid[1] + columns) * num_classes
    bins, found = grid[0] * grid[1] * num_classes, []
    for mask in masks:  # one at a time: numbers of bins are int64
        known = mask != ignore_index
        found.append(torch.bincount(place[known] + mask[known].long(), minlength=bins).int())
    return torch.stack(found).view(len(masks), -1, num_classes)


def token_standardization(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation ``(D,) float64`` of tokens ``(N, L, D)``; the deviation of a constant feature is one."""
    count = tokens.shape[0] * tokens.shape[1]
    mean = sum(part.double().sum((0, 1)) for part in tokens.split(CHUNK_ROWS)) / count
    square = sum((part.double() - mean).square().sum((0, 1)) for part in tokens.split(CHUNK_ROWS)) / count
    return torch.as_tensor(mean), torch.as_tensor(square).sqrt().where(torch.as_tensor(square) > 0, 1.0)


def upsampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps ``(N, C, h, w)`` of the size ``(H, W)``, bilinear between the centres of the patches."""
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


def image_chunks(num_images: int, elements: int) -> Iterator[slice]:
    """Yield images that are upsampled at a time, of which each takes so many elements."""
    step = max(1, MAP_ELEMENTS // max(1, elements))
    for start in range(0, num_images, step):
        yield slice(start, start + step)
