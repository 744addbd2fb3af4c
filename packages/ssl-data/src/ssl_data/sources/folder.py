"""Images in class folders."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_data.sources.image_file import EXTENSIONS, decode, jpeg
from ssl_data.sources.stored import MEMORY, StoredSource
from ssl_data.sources.substitutes import SKIP_LIMIT


class FolderSource(StoredSource):
    """Images in ``root/<class>/**``, the classes sorted by name; or images in ``root``, without labels.

    They are given as ``(H, W, 3) uint8``, whatever they are stored as, and turned upright as their EXIF tag says. Names that
    begin with a dot are left out, links are followed.

    Parameters
    ----------
    root : path
        The folder.
    on_error : {"raise", "skip"}
        What an unreadable file does: ``raise`` names path and position; ``skip`` takes the next readable sample of its
        class in its place (always the same one), says so in the log and keeps its position in ``skipped``.
    memory : int
        Bytes up to which images of one size are decoded once and kept; 0 decodes when an image is asked for (see
        :meth:`keep`).
    num_workers : int
        Threads that decode.
    skip_limit : float
        Share of the samples that ``skip`` may replace.

    Raises
    ------
    FileNotFoundError
        If the folder is missing or holds no image.
    ValueError
        For an empty class folder, images beside class folders, or an unreadable image.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        on_error: str = "raise",
        memory: int = MEMORY,
        num_workers: int = 1,
        skip_limit: float = SKIP_LIMIT,
    ) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise FileNotFoundError(f"data.root={str(root)!r}: there is no such folder")
        entries = [entry for entry in self.root.iterdir() if not entry.name.startswith(".")]
        classes = sorted(entry.name for entry in entries if entry.is_dir())
        loose = sorted(path for path in entries if path.is_file() and path.name.lower().endswith(EXTENSIONS))
        self.paths, labels = _in_class_folders(self.root, classes) if classes else (loose, [-1] * len(loose))
        if not self.paths:
            raise FileNotFoundError(f"data.root={str(root)!r}: no class folder and no image in it ({_known()})")
        if classes and loose:
            raise ValueError(
                f"data.root={str(root)!r}: '{loose[0].name}' lies beside the class folders and belongs to none "
                f"({len(loose)} such images); move it into one, or away"
            )
        super().__init__(f"data.root={str(root)!r}", np.array(labels, np.int64), classes, on_error, skip_limit)
        if memory:
            self.keep(memory, num_workers)

    def jpeg(self, position: int) -> tuple[NDArray[np.uint8], int, int] | None:
        """Return the bytes of a JPEG file with its height and width, or None if it is none in colour and upright."""
        return self._readable.read(position, lambda at: jpeg(self.paths[at]))

    def _read(self, position: int) -> NDArray[np.uint8]:
        return decode(self.paths[position])

    def _describe(self, position: int) -> str:
        return f"'{self.paths[position]}'"


def _in_class_folders(root: Path, classes: list[str]) -> tuple[list[Path], list[int]]:
    """Return the images of all classes, and the label of each."""
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = _images(root / name)
        if not found:
            raise ValueError(f"data.root={str(root)!r}: the class folder {name!r} holds no image ({_known()})")
        paths += found
        labels += [label] * len(found)
    return paths, labels


def _images(folder: Path) -> list[Path]:
    """Return all images below a folder, links to folders included, sorted part by part of their paths."""
    found = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            os.path.join(parent, name)
            for name in names
            if name.lower().endswith(EXTENSIONS) and not name.startswith(".")
        ]
    return [Path(path) for path in sorted(found, key=lambda path: path.split(os.sep))]


def _known() -> str:
    return ", ".join(EXTENSIONS[:4]) + ", ..."
