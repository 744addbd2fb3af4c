"""A folder in the layout of revisited Oxford or Paris: images of landmarks, queries with boxes, and the ground truth."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from ssl_core.checkpoint.store import sha256_of
from ssl_core.config.landmarks import Landmarks
from ssl_core.config.validation import check_groups
from ssl_core.errors import ConfigError
from ssl_eval import read_ground_truth

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels
IMAGES = "jpg"  # folder of the images


@dataclass(frozen=True)
class LandmarkFolder:
    """What a folder of landmarks has.

    Attributes
    ----------
    root : Path
        The folder of the images.
    name : str
        The name of the data set.
    gallery, queries : list of str
        Names of files in ``root``.
    boxes : list of tuple
        The box of each query, to which it is cropped.
    ground_truth : list of dict
        ``easy``, ``hard`` and ``junk`` of each query: indices into ``gallery``.
    sha256 : str
        Digest of the file of the ground truth.
    """

    root: Path
    name: str
    gallery: list[str]
    queries: list[str]
    boxes: list[Box]
    ground_truth: list[Mapping[str, Any]]
    sha256: str


def read_landmark_folder(how: Landmarks) -> LandmarkFolder:
    """Return the contents of ``eval.landmarks.root``; images are not opened yet.

    Raises
    ------
    ConfigError
        If the folder, its ground truth or an image is missing, or the ground truth is malformed.
    """
    check_groups({"eval.landmarks": how})
    root = Path(str(how.root))
    images = root / IMAGES
    for folder in (root, images):
        if not folder.is_dir():
            raise ConfigError(f"there is no folder '{folder}'", key="eval.landmarks.root", value=how.root)
    file = _ground_truth_file(how, root)
    try:
        found = read_ground_truth(file)
        boxes = [_box(number, entry) for number, entry in enumerate(found["gnd"])]
        gallery, queries = (_files(images, list(found[part])) for part in ("imlist", "qimlist"))
    except (ValueError, OSError) as error:
        raise ConfigError(str(error), key="eval.landmarks.root", value=how.root) from error
    return LandmarkFolder(
        images, how.dataset or root.resolve().name, gallery, queries, boxes, list(found["gnd"]), sha256_of(file)
    )


def _ground_truth_file(how: Landmarks, root: Path) -> Path:
    if how.ground_truth:
        if not Path(how.ground_truth).is_file():
            raise ConfigError("there is no such file", key="eval.landmarks.ground_truth", value=how.ground_truth)
        return Path(how.ground_truth)
    found = sorted(path for path in root.glob("gnd*") if path.suffix in (".pkl", ".json"))
    if len(found) != 1:
        what = "no" if not found else f"{len(found)} files ({', '.join(path.name for path in found[:3])}) as"
        raise ConfigError(
            f"it has {what} ground truth; expected one file gnd_*.pkl or gnd_*.json, or eval.landmarks.ground_truth=FILE",
            key="eval.landmarks.root",
            value=how.root,
        )
    return found[0]


def _box(number: int, entry: Mapping[str, Any]) -> Box:
    """Return the box of a query."""
    try:
        left, top, right, bottom = (float(each) for each in entry["bbx"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"gnd[{number}]: bbx must be four numbers: left, top, right, bottom in pixels") from error
    if not all(map(math.isfinite, (left, top, right, bottom))) or not (left < right and top < bottom):
        raise ValueError(f"gnd[{number}]: bbx must be left < right and top < bottom, got {[left, top, right, bottom]}")
    return left, top, right, bottom


def _files(folder: Path, names: list[str]) -> list[str]:
    """Return the names of files: ``NAME.jpg``, as the authors have them, or ``NAME``."""
    outside = [name for name in names if PurePath(name).is_absolute() or ".." in PurePath(name).parts]
    if outside:
        raise ValueError(f"the ground truth names {outside[0]!r}; expected names of images in '{folder}'")
    found = [f"{name}.jpg" if (folder / f"{name}.jpg").is_file() else name for name in names]
    missing = [name for name in found if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{len(missing)} of {len(names)} images are missing, the first: '{folder / missing[0]}.jpg'")
    return found
