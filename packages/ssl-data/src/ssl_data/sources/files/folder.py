"""Images in class folders."""

import logging
import os
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_data.sources.files.decode import decode, jpeg
from ssl_data.sources.files.listing import described, image_extensions, list_images
from ssl_data.sources.fingerprint import files_fingerprint
from ssl_data.sources.lazy import MEMORY, StoredSource
from ssl_data.sources.source import Pixels
from ssl_data.sources.stored import read_stored
from ssl_data.sources.unreadable import SKIP_LIMIT

_PARTS = {"train", "training", "test", "testing", "val", "valid", "validation", "unlabeled", "unlabelled"}  # no classes

_KNOWN = ".jpg, .png, .webp, .tif, ..."

_message = logging.getLogger(__name__)


class FolderSource(StoredSource):
    """Images in ``root/<class>/**``, the classes sorted by name; or images in ``root``, without labels.

    Images are returned as ``(H, W, 3) uint8``, turned upright by their EXIF tag. Every format that the installed Pillow
    decodes is read; :func:`ssl_data.sources.files.decode.decode` lists the images that cannot be given as 8-bit colours
    without losing information, which count as unreadable: ``pixels="stored"`` gives them as they are. Symbolic links are
    followed, names that begin with a dot are left out. Other files in class folders (unknown extensions, pipes, sockets,
    devices) are ignored; their number is logged once.

    Parameters
    ----------
    root : path
        The folder.
    on_error : {"raise", "skip"}
        What an unreadable file does: ``raise`` names path and position; ``skip`` takes the next readable sample of its
        class in its place (always the same one), logs it and keeps its position in ``skipped``.
    memory : int
        Bytes up to which images of one size are decoded once and kept; 0 decodes when an image is asked for (see
        :meth:`load_into_memory`).
    num_workers : int
        Number of threads that decode.
    skip_limit : float
        Share of the samples that ``skip`` may replace.
    key : str
        The name of ``root`` in messages; a configuration passes its own, such as ``"data.root"``.
    pixels : {"rgb8", "stored"}
        ``rgb8`` gives 8-bit RGB. ``stored`` gives ``(H, W, C)`` uint8, uint16 or float32 with the bands and the depth of the
        files, which have to be the same for all: TIFF of 1 to 64 bands, PNG of 16 bits, ``.npy``, and Pillow's formats; see
        :func:`ssl_data.sources.stored.read_stored`.
    value_range : tuple of float, optional
        The stored values that become 0 and 1 in the engine, such as ``(0, 4095)``. Default: those of the type.

    Raises
    ------
    FileNotFoundError
        If the folder is missing or holds no image.
    ValueError
        For an empty class folder, a folder that cannot be listed, images next to class folders, class folders named like
        the parts of a data set (train, test, ...), or an unreadable image, which with ``pixels="stored"`` is also one
        with other bands or of another type than the first, or with values outside of the range.
    ImportError
        If the package that reads a file is not installed: ``ssl-data[tiff]``.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        on_error: str = "raise",
        memory: int = MEMORY,
        num_workers: int = 1,
        skip_limit: float = SKIP_LIMIT,
        key: str = "root",
        pixels: str = "rgb8",
        value_range: tuple[float, float] | None = None,
    ) -> None:
        self.root, where = Path(root), f"{key}={str(root)!r}"
        if not self.root.is_dir():
            raise FileNotFoundError(f"{where}: there is no such folder")
        group = f"{key.partition('.')[0]}." if "." in key else ""
        self.paths, labels, classes = _listed(self.root, where, pixels, group)
        super().__init__(where, labels, classes, on_error, skip_limit, group, pixels, value_range)
        if memory:
            self.load_into_memory(memory, num_workers)

    def fingerprint(self) -> str:
        """Return number, bytes and digest of the files; the folder may be moved or copied."""
        return files_fingerprint(self.paths, self.root)

    def jpeg(self, position: int) -> tuple[NDArray[np.uint8], int, int] | None:
        """Return the bytes of a JPEG file with its height and width, or None if it is not an upright JPEG in colour."""
        return self._readable.read(position, lambda at: jpeg(self.paths[at]))

    def _read(self, position: int) -> Pixels:
        return (decode if self.pixels == "rgb8" else read_stored)(self.paths[position])

    def _describe(self, position: int) -> str:
        return f"'{self.paths[position]}'"


def _listed(root: Path, where: str, pixels: str, group: str) -> tuple[list[str], NDArray[np.int64], list[str]]:
    """Return the images of a folder, their labels and the names of the classes; log what is ignored."""
    ignored = Counter[str]()
    try:
        classes, loose = _entries(root, where, pixels)
        found = [list_images(root / name, ignored, pixels) for name in classes] or [list_images(root, ignored, pixels)]
    except OSError as error:
        raise ValueError(f"{where}: '{error.filename}' cannot be listed: {error.strerror}") from error
    arrays = f"; .npy is read with {group}pixels=stored" if ignored[".npy"] else ""
    rest = f"; ignored {described(ignored)}{arrays}" if ignored else ""
    if not classes and not found[0]:
        raise FileNotFoundError(f"{where}: no class folder and no image in it ({_KNOWN}){rest}")
    for name, paths in zip(classes, found):
        if not paths:
            raise ValueError(f"{where}: the class folder {name!r} holds no image ({_KNOWN}){rest}")
    if classes and loose:
        raise ValueError(
            f"{where}: '{loose[0]}' is in no class folder ({len(loose)} such images); move it into one, or remove it"
        )
    if classes and {name.lower() for name in classes} <= _PARTS:
        raise ValueError(
            f"{where}: expected class folders, found the parts of a data set ({', '.join(classes)}); choose one of them, "
            f"such as '{root / classes[-1]}'"
        )
    if ignored:
        _message.warning("%s: ignored %s (expected images: %s)%s", where, described(ignored), _KNOWN, arrays)
    labels = np.repeat(np.arange(len(classes)) if classes else [-1], [len(paths) for paths in found])
    return [path for paths in found for path in paths], labels.astype(np.int64), classes


def _entries(root: Path, where: str, pixels: str) -> tuple[list[str], list[str]]:
    """Return the names of the class folders of a folder, and of the images next to them, sorted."""
    extensions = image_extensions(pixels)
    classes, images = [], []
    for entry in root.iterdir():
        if entry.name.startswith("."):
            continue
        is_broken = entry.is_symlink() and not entry.exists()
        if entry.is_dir():
            classes.append(entry.name)
        elif entry.suffix.lower() in extensions and (entry.is_file() or is_broken):
            images.append(entry.name)
        elif is_broken:  # perhaps a whole class
            raise ValueError(f"{where}: '{entry.name}' is a link to something missing; restore its target or remove it")
    return sorted(classes), sorted(images)
