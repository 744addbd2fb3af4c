"""PASCAL VOC 2007 for classification: several labels an image."""

import os
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from ssl_data.sources.files.decode import decode
from ssl_data.sources.fingerprint import files_fingerprint
from ssl_data.sources.lazy import StoredSource
from ssl_data.sources.source import Pixels

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog", "horse",
    "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


class VOCSource(StoredSource):
    """The images of a list of PASCAL VOC (Everingham et al. 2010, https://doi.org/10.1007/s11263-009-0275-4).

    Parameters
    ----------
    folder : path
        ``VOCdevkit/VOC2007``, with ``ImageSets/Main``, ``Annotations`` and ``JPEGImages``.
    part : str
        The list in ``ImageSets/Main``: ``trainval`` or ``test``.

    Attributes
    ----------
    targets : array
        ``(M, 20) int64``: 1 if the image has an object of the class, 0 if not, -1 if it has only objects that are marked as
        difficult: they do not count, as in the development kit.

    Raises
    ------
    FileNotFoundError
        If the list or an annotation is missing.
    ValueError
        For an empty list, or an annotation that is no XML or has another class.
    """

    def __init__(self, folder: str | os.PathLike[str], part: str) -> None:
        self.root = Path(folder)
        listed = self.root / "ImageSets" / "Main" / f"{part}.txt"
        if not listed.is_file():
            raise FileNotFoundError(f"'{listed}': there is no such file")
        names = [line.split()[0] for line in listed.read_text().splitlines() if line.strip()]
        if not names:
            raise ValueError(f"'{listed}': expected the names of images, one a line")
        self.paths = [str(self.root / "JPEGImages" / f"{name}.jpg") for name in names]
        self.targets = np.stack([_targets(self.root / "Annotations" / f"{name}.xml") for name in names])
        labels = np.full(len(names), -1, np.int64)
        super().__init__(f"'{listed}'", labels, list(CLASSES), "raise", 0.0)

    def fingerprint(self) -> str:
        """Return number, bytes and digest of the files."""
        return files_fingerprint(self.paths, self.root)

    def _read(self, position: int) -> Pixels:
        return decode(self.paths[position])

    def _describe(self, position: int) -> str:
        return f"'{self.paths[position]}'"


def _targets(file: Path) -> NDArray[np.int64]:
    """Return the targets ``(20,)`` of one annotation."""
    targets = np.zeros(len(CLASSES), np.int64)
    if not file.is_file():
        raise FileNotFoundError(f"'{file}': there is no such file")
    try:
        objects = ElementTree.parse(file).getroot().findall("object")
        for each in objects:
            place = CLASSES.index(str(each.findtext("name")))
            difficult = each.findtext("difficult") == "1"
            targets[place] = 1 if not difficult or targets[place] == 1 else -1
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"'{file}': expected objects of the 20 classes of PASCAL VOC in XML ({error})") from error
    return targets
