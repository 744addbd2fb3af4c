"""The pairs of images and maps below a folder, in the layouts of VOC, of ADE20K, and of two plain folders."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_data.errors import ArgumentError
from ssl_data.sources.files.listing import list_images

TARGETS = {"masks": ("masks", "annotations", "labels"), "depth": ("depth", "depths")}  # names of the folder of maps
TRAIN, TEST = ("training", "train"), ("validation", "val", "test", "testing")
VOC = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"

Pair = tuple[str, str]  # paths of an image and of its map


@dataclass
class Pairs:
    """The pairs of the training and of the test part, sorted by path, and the names of their folders."""

    train: list[Pair]
    test: list[Pair]
    folders: tuple[str, str]  # of the images and of the maps, below the root
    drawn: bool  # whether the parts are drawn, and not those of the data set


def list_pairs(root: Path, where: str, targets: str, test_fraction: float, seed: int) -> Pairs:
    """Return the pairs of :class:`ssl_data.PairedFolder`, whose arguments these are; ``where`` begins each message.

    Raises
    ------
    FileNotFoundError, ValueError
        As :class:`ssl_data.PairedFolder`.
    """
    if targets == "masks" and (root / VOC[0]).is_dir() and (root / VOC[1]).is_dir():
        return _voc(root, where, test_fraction, seed)
    images = root / "images"
    maps = next((root / name for name in TARGETS[targets] if (root / name).is_dir()), None)
    if maps is None or not images.is_dir():
        names = " or ".join(map(repr, TARGETS[targets]))
        voc = f", or {VOC[0]!r} and {VOC[1]!r}" * (targets == "masks")
        raise FileNotFoundError(f"{where}: expected the folders 'images' and {names}{voc} in it")
    parts = [next((name for name in names if (images / name).is_dir()), None) for names in (TRAIN, TEST)]
    folders = images.name, maps.name
    if parts == [None, None]:
        return Pairs(*_drawn(_matched(images, maps, where), where, test_fraction, seed), folders, True)
    if None in parts:
        missing = TRAIN if parts[0] is None else TEST
        raise FileNotFoundError(
            f"{where}: 'images' has the part {next(filter(None, parts))!r} only; expected "
            f"{' or '.join(map(repr, missing))} as well"
        )
    train, test = (_matched(images / str(part), maps / str(part), where) for part in parts)
    return Pairs(train, test, folders, False)


def _voc(root: Path, where: str, test_fraction: float, seed: int) -> Pairs:
    images, maps, lists = (root / name for name in VOC)
    if not lists.is_dir():
        masks = _by_name(maps, where)
        found = _by_name(images, where)
        pairs = [(_of(found, name, images, where), path) for name, path in masks.items()]  # most images have no mask
        return Pairs(*_drawn(pairs, where, test_fraction, seed), (VOC[0], VOC[1]), True)
    found, masks = _by_name(images, where), _by_name(maps, where)
    parts = []
    for part in ("train", "val"):
        file = lists / f"{part}.txt"
        if not file.is_file():
            raise FileNotFoundError(f"{where}: '{file}' does not exist; it lists the images of a part, one a line")
        names = file.read_text().split()
        parts.append([(_of(found, name, images, where), _of(masks, name, maps, where)) for name in names])
        if not parts[-1]:
            raise ValueError(f"{where}: '{file}' lists no image")
    return Pairs(parts[0], parts[1], (VOC[0], VOC[1]), False)


def _matched(images: Path, maps: Path, where: str) -> list[Pair]:
    """Return the pairs of two folders whose files have the same names without the extension."""
    found, others = _by_name(images, where), _by_name(maps, where)
    for one, two, folder, name in ((found, others, images, maps), (others, found, maps, images)):
        alone = sorted(one.keys() - two.keys())
        if alone:
            raise ValueError(
                f"{where}: {len(alone)} files of '{folder}' have none of the same name in '{name}', such as {alone[0]!r}; "
                "expected one map for each image"
            )
    return [(found[name], others[name]) for name in sorted(found)]


def _by_name(folder: Path, where: str) -> dict[str, str]:
    """Return the images and arrays below a folder by their path in it, without the extension."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{where}: '{folder}' does not exist")
    paths = list_images(folder, Counter(), "stored")
    if not paths:
        raise FileNotFoundError(f"{where}: no image in '{folder}'")
    found: dict[str, str] = {}
    for path in paths:
        name = os.path.splitext(os.path.relpath(path, folder))[0]
        if name in found:
            raise ValueError(f"{where}: '{path}' and '{found[name]}' have the same name; expected one file of a name")
        found[name] = path
    return found


def _of(found: dict[str, str], name: str, folder: Path, where: str) -> str:
    if name not in found:
        raise FileNotFoundError(f"{where}: '{folder}' has no file {name!r}")
    return found[name]


def _drawn(pairs: list[Pair], where: str, test_fraction: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Return the training and the test part of pairs, of which a share is drawn for the test."""
    count = round(test_fraction * len(pairs))
    if not 0 < count < len(pairs):
        raise ArgumentError(
            "test_fraction",
            test_fraction,
            f"expected a share that leaves both parts an image; {where} has {len(pairs)}",
        )
    chosen = set(np.random.default_rng(seed).permutation(len(pairs))[:count].tolist())
    parts = [[pair for place, pair in enumerate(pairs) if (place in chosen) == test] for test in (False, True)]
    return parts[0], parts[1]
