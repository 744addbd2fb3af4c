"""Images of a list of files in their own proportions, each cropped to a box if it has one, for retrieval."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ssl_data.errors import ArgumentError
from ssl_data.loading.prefetch import Job, prefetched
from ssl_data.loading.threads import bounded_threads
from ssl_data.sources.files.decode import ORIENTATION, UNREADABLE, decode
from ssl_data.sources.fingerprint import files_fingerprint

Box = tuple[float, float, float, float]
AHEAD = 2  # batches that are read while one is used
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap the sides


class ListedImages:
    """Images of a list of files, cropped to boxes, reduced so that the longer side has a given length.

    Parameters
    ----------
    root : path
        The folder of the files.
    names : sequence of str
        Paths below ``root``; an image may appear several times.
    boxes : sequence of tuple, optional
        Left, top, right and bottom of each image in pixels, rounded. Default: whole images.
    num_workers : int
        Number of threads that read; -1: one per processor.
    key : str
        Prefix of messages, such as ``"eval.landmarks.root"``.

    Raises
    ------
    ValueError
        If the numbers of images and boxes differ.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        names: Sequence[str],
        boxes: Sequence[Box] | None = None,
        num_workers: int = -1,
        key: str = "root",
    ) -> None:
        if boxes is not None and len(boxes) != len(names):
            raise ArgumentError("boxes", len(boxes), f"expected one for each of {len(names)} images")
        self.root, self.names, self.boxes = Path(root), list(names), None if boxes is None else list(boxes)
        self._where, self._threads = f"{key}={str(root)!r}", bounded_threads(num_workers)

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"ListedImages({str(self.root)!r}, {len(self)} images{', cropped' * (self.boxes is not None)})"

    def fingerprint(self) -> str:
        """Return number, bytes and digest of the files; it does not depend on the boxes."""
        return files_fingerprint([self._path(row) for row in range(len(self))], self.root)

    def batches(
        self,
        size: int,
        multiple: int,
        channels: int,
        batch_size: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of images of the same shape, the smallest first; every image once.

        An image is cropped, then reduced by Lanczos' filter until its longer side is ``size``, as the authors of revisited
        Oxford and Paris do. Smaller images keep their size. Then both sides are rounded to a multiple of ``multiple``, which
        stretches the image by less than this.

        Parameters
        ----------
        size : int
            Length of the longer side in pixels.
        multiple : int
            The patch size of a vision transformer, or 1.
        channels : int
            3, or 1 for grey.
        batch_size : int
            Largest number of images in a batch.
        mean, std : sequence of float
            Mean and standard deviation of each channel that the backbone was trained with, for pixels in 0..1.

        Yields
        ------
        tuple
            Places in ``names``, ``(N,) int64``, and normalised images ``(N, C, H, W) float32``.

        Raises
        ------
        ValueError
            For a file that cannot be read, and a box without a pixel of its image. The message names the file.
        """
        if channels not in (1, 3):
            raise ArgumentError("channels", channels, "expected 3 or 1: the images are RGB or grey")
        shift, scale = (np.resize(np.asarray(each, np.float32), channels)[:, None, None] for each in (mean, std))
        with ThreadPoolExecutor(self._threads, thread_name_prefix="ssl-data") as pool:
            shapes = list(pool.map(partial(self._shape, size=size, multiple=multiple), range(len(self))))

        def fill(images: Tensor, place: int, row: int) -> None:
            pixels = self._read(row, shapes[row], channels)
            images[place] = torch.from_numpy((pixels / np.float32(255) - shift) / scale)

        def jobs() -> Iterator[Job[tuple[Tensor, Tensor]]]:
            for shape in sorted(set(shapes)):
                rows = [row for row, each in enumerate(shapes) if each == shape]
                for start in range(0, len(rows), batch_size):
                    part = rows[start : start + batch_size]
                    images = torch.empty(len(part), channels, *shape)
                    yield (
                        (torch.tensor(part), images),
                        [partial(fill, images, place, row) for place, row in enumerate(part)],
                    )

        return prefetched(jobs(), self._threads, AHEAD)

    def _path(self, row: int) -> str:
        return os.path.join(self.root, self.names[row])

    def _shape(self, row: int, size: int, multiple: int) -> tuple[int, int]:
        """Return height and width of an image after cropping and resizing; only the header of the file is read."""
        try:
            with Image.open(self._path(row)) as image:
                width, height = image.size
                if image.getexif().get(ORIENTATION) in _SIDEWAYS:
                    width, height = height, width
        except UNREADABLE as error:
            raise self._unreadable(row, error) from error
        if self.boxes is not None:
            left, top, right, bottom = map(round, self.boxes[row])
            if min(right, width) <= max(left, 0) or min(bottom, height) <= max(top, 0):
                raise ValueError(
                    f"{self._where}: the box {left, top, right, bottom} has no pixel of '{self._path(row)}', which has "
                    f"{width} x {height}"
                )
            width, height = right - left, bottom - top
        factor = min(1.0, size / max(width, height))
        new_height, new_width = (max(1, round(side * factor / multiple)) * multiple for side in (height, width))
        return new_height, new_width

    def _read(self, row: int, shape: tuple[int, int], channels: int) -> NDArray[np.uint8]:
        """Return an image ``(C, H, W)``, cropped and resized; a box that extends beyond the image has black there."""
        try:
            image = Image.fromarray(decode(self._path(row)))
        except UNREADABLE as error:
            raise self._unreadable(row, error) from error
        if channels == 1:
            image = image.convert("L")
        if self.boxes is not None:
            image = image.crop(self.boxes[row])
        if image.size != shape[::-1]:
            image = image.resize(shape[::-1], Image.Resampling.LANCZOS)
        return np.asarray(image).reshape(*shape, channels).transpose(2, 0, 1)

    def _unreadable(self, row: int, error: Exception) -> ValueError:
        return ValueError(f"{self._where}: '{self._path(row)}' cannot be read: {error or type(error).__name__}")
