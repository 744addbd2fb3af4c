"""Images in class folders."""

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
MEMORY = 2**30  # bytes up to which a folder is kept decoded
THUMBNAIL = 64 * 64  # pixels
STRETCH = 64  # files that a thread reads in a row
SKIPPED_AT_MOST = 0.01  # share of the samples that data.on_error=skip may replace

_ORIENTATION = 0x0112  # the EXIF tag that says how the camera was held
_message = logging.getLogger(__name__)
_UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning)


class FolderSource:
    """Images in ``root/<class>/*``, the classes sorted by name.

    Parameters
    ----------
    root : path
        The folder. A folder with images and no class folders is a source without labels.
    on_error : {"raise", "skip"}
        What an unreadable file does: ``raise`` names path and position; ``skip`` takes the next readable sample of its
        class in its place (always the same one), says so in the log and keeps its position in ``skipped``, up to one in
        a hundred.
    memory : int
        Bytes up to which images of one size are decoded once and kept; 0 decodes when an image is asked for (see
        :meth:`keep`).
    num_workers : int
        Threads that decode.

    Raises
    ------
    FileNotFoundError
        If the folder is missing or holds no image.
    ValueError
        For an empty class folder, or an unreadable image.
    """

    def __init__(
        self, root: str | os.PathLike[str], on_error: str = "raise", memory: int = MEMORY, num_workers: int = 1
    ) -> None:
        self.root = Path(root)
        self.on_error = on_error
        self.skipped: set[int] = set()
        if not self.root.is_dir():
            raise FileNotFoundError(f"data.root={str(root)!r}: there is no such folder")
        classes = sorted(entry.name for entry in self.root.iterdir() if entry.is_dir())
        self.class_names = classes
        self.paths: list[Path] = []
        labels: list[int] = []
        for label, name in enumerate(classes):
            found = _images(self.root / name)
            if not found:
                raise ValueError(f"data.root={str(root)!r}: the class folder {name!r} holds no image ({_known()})")
            self.paths += found
            labels += [label] * len(found)
        if not classes:
            self.paths = _images(self.root)
            labels = [-1] * len(self.paths)
        if not self.paths:
            raise FileNotFoundError(f"data.root={str(root)!r}: no class folder and no image in it ({_known()})")
        self.labels = np.array(labels, np.int64)
        self.ids = np.arange(len(self.paths), dtype=np.int64)
        self.images: NDArray[np.uint8] | None = None
        if memory:
            self.keep(memory, num_workers)

    def __len__(self) -> int:
        return len(self.paths)

    def image(self, position: int) -> NDArray[np.uint8]:
        """Return one image, ``(H, W, 3) uint8``, turned upright as its EXIF tag says."""
        if self.images is not None:
            return self.images[position]
        start, stop = np.searchsorted(self.labels, [self.labels[position], self.labels[position] + 1]).tolist()
        for step in range(stop - start):  # round its class: a picture of another one would be mislabelled
            at = start + (position - start + step) % (stop - start)
            try:
                return decode(self.paths[at])
            except _UNREADABLE as error:
                self._skip(at, error)
        raise ValueError(f"data.root={str(self.root)!r}: no image beside '{self.paths[position]}' can be read")

    def _skip(self, at: int, error: BaseException) -> None:
        """Count an unreadable file, or raise where that is not asked for or too many are."""
        if self.on_error != "skip":
            raise ValueError(
                f"data.root={str(self.root)!r}: sample {at}, '{self.paths[at]}', cannot be read: {error}; "
                "repair or remove it, or set data.on_error=skip"
            ) from error
        if at not in self.skipped:
            self.skipped.add(at)
            _message.warning("data.on_error=skip: sample %d, '%s', cannot be read: %s", at, self.paths[at], error)
        if len(self.skipped) > max(1, SKIPPED_AT_MOST * len(self.paths)):
            raise ValueError(
                f"data.root={str(self.root)!r}: {len(self.skipped)} of {len(self.paths)} images cannot be read, "
                f"more than data.on_error=skip replaces; the last is '{self.paths[at]}'"
            ) from error

    def keep(self, memory: int = MEMORY, num_workers: int = 1) -> None:
        """Decode everything once into ``images``, if it takes at most ``memory`` bytes and is of one size."""
        shape = self.image(0).shape
        if len(self.paths) * int(np.prod(shape)) > memory:
            return
        kept = np.empty((len(self.paths), *shape), np.uint8)

        def fill(first: int) -> bool:
            for position in range(first, min(first + STRETCH, len(self.paths))):
                image = self.image(position)
                if image.shape != shape:
                    return False
                kept[position] = image
            return True

        # a thumbnail costs more in the interpreter than in the decoder, and threads would only wait for each other
        with ThreadPoolExecutor(num_workers if shape[0] * shape[1] > THUMBNAIL else 1) as pool:
            if all(pool.map(fill, range(0, len(self.paths), STRETCH))):
                self.images = kept


def decode(path: Path) -> NDArray[np.uint8]:
    """Return the image in a file as ``(H, W, 3) uint8``: any mode of PIL, 16 bits scaled to 8, upright."""
    with Image.open(path) as file:
        file.load()
        upright = file.getexif().get(_ORIENTATION, 1) == 1
        image = file if upright else ImageOps.exif_transpose(file)
    if image.mode.startswith("I") or image.mode == "F":
        grey = np.asarray(image).astype(np.float64)
        return np.repeat(np.clip(grey / 257, 0, 255).round().astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _images(folder: Path) -> list[Path]:
    """Return all images below a folder, links to folders included, sorted part by part of their paths."""
    found = [
        os.path.join(parent, name)
        for parent, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.lower().endswith(EXTENSIONS)
    ]
    return [Path(path) for path in sorted(found, key=lambda path: path.split(os.sep))]


def _known() -> str:
    return ", ".join(EXTENSIONS[:4]) + ", ..."
