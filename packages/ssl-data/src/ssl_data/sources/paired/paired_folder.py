"""Folders of images and of their masks or depth maps, for evaluations on pixels."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ssl_data.errors import ArgumentError
from ssl_data.loading.prefetch import Job, prefetched
from ssl_data.loading.threads import bounded_threads
from ssl_data.sources.files.decode import UNREADABLE, decode
from ssl_data.sources.fingerprint import files_fingerprint
from ssl_data.sources.paired.listing import TARGETS, list_pairs

IGNORED = 255  # class of the pixels that do not count
AHEAD = 2  # batches that are read while one is used
LARGEST = 2**15  # classes of a mask, which is int16
PARTS = ("train", "test")


class PairedFolder:
    """Images with one map each, a mask of classes or of depth, in folders; both are resized to one size.

    These layouts are known; an image and its map have the same name, but for the extension:

    - ``images/`` and ``masks/`` (or ``annotations/``, ``labels/``; for depth ``depth/`` or ``depths/``), with the parts
      ``train``/``training`` and ``val``/``validation``/``test`` in both, as ADE20K (``images/training``,
      ``annotations/training``, ...), or without parts: then a share is drawn for the test;
    - ``JPEGImages/`` and ``SegmentationClass/`` with ``ImageSets/Segmentation/{train,val}.txt``, as VOC.

    Masks are images of one band, or with a palette, whose values are the classes, or ``.npy`` of integers. Depth maps are
    16-bit PNG in units of ``1 / depth_scale``, or ``.npy`` and floating-point TIFF as they are; 0 is a pixel without a
    measurement.

    Parameters
    ----------
    root : path
        The folder.
    targets : {"masks", "depth"}
        What the maps hold.
    reduce_zero_label : bool, optional
        Whether class 0 does not count and the others move down by one, as mmseg numbers ADE20K. Default: only for masks in
        ``annotations/training``, the layout of ADE20K.
    depth_scale : float
        Stored values of one unit of depth: 1000 for millimetres (NYU), 256 for KITTI.
    test_fraction : float
        Share of the images for the test part, if the data set has no parts.
    train_images : int
        Number of training images to use, drawn at random; 0: all.
    seed : int
        Random seed of the images that are drawn.
    num_workers : int
        Number of threads that read; -1: one per processor.
    key : str
        The name of ``root`` in messages, such as ``"eval.dense.root"``.

    Raises
    ------
    FileNotFoundError
        If a folder, a list of a part, or a file of a pair is missing.
    ValueError
        For an image without a map or a map without an image, and for an argument that is out of range.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        targets: str = "masks",
        reduce_zero_label: bool | None = None,
        depth_scale: float = 1000.0,
        test_fraction: float = 0.2,
        train_images: int = 0,
        seed: int = 0,
        num_workers: int = -1,
        key: str = "root",
    ) -> None:
        if targets not in TARGETS:
            raise ArgumentError("targets", targets, f"expected {' or '.join(map(repr, TARGETS))}")
        if not depth_scale > 0:
            raise ArgumentError("depth_scale", depth_scale, "expected above 0")
        self.root, self.targets, self._where = Path(root), targets, f"{key}={str(root)!r}"
        if not self.root.is_dir():
            raise FileNotFoundError(f"{self._where}: there is no such folder")
        pairs = list_pairs(self.root, self._where, targets, test_fraction, seed)
        train = pairs.train
        if 0 < train_images < len(train):
            chosen = np.random.default_rng(seed).permutation(len(train))[:train_images]
            train = [train[place] for place in sorted(chosen.tolist())]
        self.pairs = {"train": train, "test": pairs.test}
        self.drawn = pairs.drawn
        is_ade20k = pairs.folders[1] == "annotations" and (self.root / "annotations" / "training").is_dir()
        self.reduce_zero_label = is_ade20k if reduce_zero_label is None else reduce_zero_label
        self.depth_scale = depth_scale
        self._threads = bounded_threads(num_workers)

    def __repr__(self) -> str:
        counts = ", ".join(f"{part}={len(self.pairs[part])}" for part in PARTS)
        return f"PairedFolder({str(self.root)!r}, targets={self.targets!r}, {counts})"

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.root.resolve().name

    def num_images(self, part: str) -> int:
        """Return the number of images of ``"train"`` or ``"test"``."""
        return len(self.pairs[part])

    def facts(self) -> dict[str, Any]:
        """Return what a result records of the data: numbers of images, and number, bytes and digest of the files."""
        files = [path for part in PARTS for pair in self.pairs[part] for path in pair]
        facts: dict[str, Any] = {f"{part}_images": len(self.pairs[part]) for part in PARTS}
        if self.targets == "masks":
            facts["reduce_zero_label"] = self.reduce_zero_label
        return facts | {"test_part_drawn": self.drawn, "files": files_fingerprint(files, self.root)}

    def batches(
        self,
        part: str,
        size: tuple[int, int],
        channels: int,
        batch_size: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and their maps in order.

        Both are stretched to ``size`` without keeping their proportions: images bicubic and antialiased, maps by the nearest
        pixel.

        Parameters
        ----------
        part : {"train", "test"}
            The part to read.
        size : tuple of int
            Height and width.
        channels : int
            3, or 1 for grey.
        batch_size : int
            Number of images in a batch.
        mean, std : sequence of float
            Mean and standard deviation of each channel that the backbone was trained with, for pixels in 0..1.

        Yields
        ------
        tuple
            ``(N, C, H, W) float32`` normalised, and ``(N, H, W)``: int16 classes, 255 where a pixel does not count; or float32
            depth, 0 where it was not measured.

        Raises
        ------
        ValueError
            For a file that cannot be read, an image and a map of different sizes, and a mask that is not of classes. The
            message names the file.
        """
        if channels not in (1, 3):
            raise ArgumentError("channels", channels, "expected 3 or 1: the images are RGB or grey")
        shift, scale = (np.resize(np.asarray(each, np.float32), channels)[:, None, None] for each in (mean, std))

        def fill(images: Tensor, maps: Tensor, row: int, pair: tuple[str, str]) -> None:
            image, found = self._read(pair, size, channels)
            images[row] = torch.from_numpy((image / np.float32(255) - shift) / scale)
            maps[row] = torch.from_numpy(found)

        def jobs() -> Iterator[Job[tuple[Tensor, Tensor]]]:
            dtype = torch.int16 if self.targets == "masks" else torch.float32
            for start in range(0, self.num_images(part), batch_size):
                pairs = self.pairs[part][start : start + batch_size]
                batch = torch.empty(len(pairs), channels, *size), torch.empty(len(pairs), *size, dtype=dtype)
                calls: list[Callable[[], None]] = [partial(fill, *batch, row, pair) for row, pair in enumerate(pairs)]
                yield batch, calls

        return prefetched(jobs(), self._threads, AHEAD)

    def _read(self, pair: tuple[str, str], size: tuple[int, int], channels: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the image ``(C, H, W)`` uint8 and the map ``(H, W)``, resized."""
        path = pair[0]
        try:
            image = Image.fromarray(decode(path))
            path = pair[1]
            values: NDArray[Any] = _mask(path) if self.targets == "masks" else _depth(path, self.depth_scale)
            if values.shape != image.size[::-1]:
                raise ValueError(f"it has {values.shape} pixels, its image '{pair[0]}' has {image.size[::-1]}")
        except UNREADABLE as error:
            raise ValueError(f"{self._where}: '{path}' cannot be read: {error or type(error).__name__}") from error
        if channels == 1:
            image = image.convert("L")
        pixels = np.asarray(image.resize(size[::-1], Image.Resampling.BICUBIC)).reshape(*size, channels)
        rows, columns = (
            (np.arange(new) * 2 + 1) * old // (2 * new) for new, old in zip(size, values.shape)
        )  # the pixels nearest to the new centres
        values = values[np.ix_(rows, columns)]
        if self.targets == "masks":
            values = self._classes(values).astype(np.int16)
        return pixels.transpose(2, 0, 1), values

    def _classes(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        if not self.reduce_zero_label:
            return values
        return np.where((values == 0) | (values == IGNORED), IGNORED, values - 1)


def _mask(path: str) -> NDArray[np.int64]:
    """Return the classes ``(H, W)`` of a mask."""
    if path.endswith(".npy"):
        values = np.load(path, allow_pickle=False)
        if values.ndim != 2 or values.dtype.kind not in "iu":
            raise ValueError(f"expected classes, (H, W) integers, got {values.dtype} {values.shape}")
    else:
        with Image.open(path) as image:
            if image.mode not in ("P", "L", "1", "I", "I;16"):
                raise ValueError(
                    f"expected one band whose values are classes, or a palette, got an image of mode {image.mode}"
                )
            values = np.asarray(image)
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    if low < 0 or high >= LARGEST:
        raise ValueError(f"expected classes from 0 to {LARGEST - 1:,}, got {low if low < 0 else high:,}")
    return values.astype(np.int64)


def _depth(path: str, scale: float) -> NDArray[np.float32]:
    """Return the depth ``(H, W)`` of a map, in units."""
    if path.endswith(".npy"):
        values = np.load(path, allow_pickle=False)
        scale = 1.0
    else:
        with Image.open(path) as image:
            if image.mode not in ("L", "I", "I;16", "F"):
                raise ValueError(f"expected one band of depth, got an image of mode {image.mode}")
            values = np.asarray(image)
            scale = 1.0 if image.mode == "F" else scale
    if values.ndim != 2 or values.dtype.kind not in "iuf":
        raise ValueError(f"expected depth, (H, W) numbers, got {values.dtype} {values.shape}")
    values = (values / scale).astype(np.float32)
    return np.where(np.isfinite(values) & (values > 0), values, np.float32(0))
