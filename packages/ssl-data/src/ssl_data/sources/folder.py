"""Images in class folders."""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
SKIPPED_AT_MOST = 0.01  # share of the samples that data.on_error=skip may replace


class FolderSource:
    """Images in ``root/<class>/*``, the classes sorted by name.

    Parameters
    ----------
    root : path
        The folder. A folder with images and no class folders is a source without labels.
    on_error : {"raise", "skip"}
        What an unreadable file does: ``raise`` names path and position; ``skip`` takes the next readable sample in its
        place (always the same one) and counts it in ``skipped``, up to one in a hundred.
    memory : int
        Bytes up to which images of one size are decoded once and kept.
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
        self, root: str | os.PathLike[str], on_error: str = "raise", memory: int = 2**30, num_workers: int = 1
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
        self._keep(memory, num_workers)

    def __len__(self) -> int:
        return len(self.paths)

    def image(self, position: int) -> NDArray[np.uint8]:
        """Return one image, ``(H, W, 3) uint8``, turned upright as its EXIF tag says."""
        if self.images is not None:
            return self.images[position]
        for step in range(len(self.paths)):
            at = (position + step) % len(self.paths)
            try:
                return decode(self.paths[at])
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                if self.on_error != "skip":
                    raise ValueError(
                        f"data.root={str(self.root)!r}: sample {at}, '{self.paths[at]}', cannot be read: {error}; "
                        "repair or remove it, or set data.on_error=skip"
                    ) from error
                self.skipped.add(at)
                if len(self.skipped) > max(1, SKIPPED_AT_MOST * len(self.paths)):
                    raise ValueError(
                        f"data.root={str(self.root)!r}: {len(self.skipped)} of {len(self.paths)} images cannot be read, "
                        f"more than data.on_error=skip replaces; the last is '{self.paths[at]}'"
                    ) from error
        raise AssertionError("the limit ends the loop")

    def _keep(self, memory: int, num_workers: int) -> None:
        """Decode everything once, if it is small and of one size."""
        shape = self.image(0).shape
        if len(self.paths) * int(np.prod(shape)) > memory:
            return
        kept = np.empty((len(self.paths), *shape), np.uint8)

        def fill(position: int) -> bool:
            image = self.image(position)
            if image.shape != shape:
                return False
            kept[position] = image
            return True

        with ThreadPoolExecutor(max(1, num_workers)) as pool:
            if all(pool.map(fill, range(len(self.paths)), chunksize=64)):
                self.images = kept


def decode(path: Path) -> NDArray[np.uint8]:
    """Return the image in a file as ``(H, W, 3) uint8``: any mode of PIL, 16 bits scaled to 8, upright."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path) as file:
                file.load()
                image = ImageOps.exif_transpose(file) or file
        except Image.DecompressionBombWarning as error:
            raise ValueError(str(error)) from error
    if image.mode.startswith("I") or image.mode == "F":
        grey = np.asarray(image).astype(np.float64)
        return np.repeat(np.clip(grey / 257, 0, 255).round().astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return np.asarray(image.convert("RGB"))


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())


def _known() -> str:
    return ", ".join(EXTENSIONS[:4]) + ", ..."
