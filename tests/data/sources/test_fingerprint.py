"""Fingerprints: equal for a copy of the data, different for any other data."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from ssl_data import (
    ArraySource,
    BetonSource,
    DataConfig,
    FolderSource,
    IndexedSource,
    Loader,
    Relabelled,
    Subset,
    TorchvisionSource,
    views,
    write_beton,
)
from ssl_data.sources import fingerprint as module
from ssl_data.sources.fingerprint import fingerprint


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(4):
            image = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            image.save(tmp_path / "data" / name / f"{number}.bmp")  # all files have the same size
    return tmp_path / "data"


def add(folder):
    shutil.copy(folder / "cat" / "0.bmp", folder / "cat" / "4.bmp")


def overwrite(folder):
    shutil.copy(folder / "cat" / "0.bmp", folder / "dog" / "2.bmp")


def exchange(folder):
    (folder / "cat").rename(folder / "fish")
    (folder / "dog").rename(folder / "cat")
    (folder / "fish").rename(folder / "dog")


def rename_class(folder):
    (folder / "cat").rename(folder / "fish")


def rename_file(folder):
    (folder / "cat" / "0.bmp").rename(folder / "cat" / "00.bmp")


def truncate(folder):
    os.truncate(folder / "cat" / "0.bmp", 100)


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        (add, {"num_samples", "labels", "images"}),
        (overwrite, {"images"}),
        (exchange, {"images"}),
        (rename_class, {"class_names", "images"}),
        (rename_file, {"images"}),
        (truncate, {"images"}),
    ],
)
def test_changed_folders_have_another_fingerprint(folder, change, keys):
    before = fingerprint(FolderSource(folder, memory=0))
    assert before["num_samples"] == 8
    assert before["class_names"] == ["cat", "dog"]
    assert before["images"].startswith(f"8 files, {8 * (folder / 'cat' / '0.bmp').stat().st_size:,} bytes, sha256 ")
    change(folder)
    now = fingerprint(FolderSource(folder, memory=0))
    assert {key for key in now if now[key] != before[key]} == keys


def test_copied_folders_have_the_same_fingerprint(folder, tmp_path, monkeypatch):
    before = fingerprint(FolderSource(folder))
    shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile)  # other times of modification
    assert fingerprint(FolderSource(tmp_path / "copy", memory=0)) == before
    assert fingerprint(FolderSource(f"{folder}/")) == before
    monkeypatch.chdir(folder)
    assert fingerprint(FolderSource(".")) == fingerprint(FolderSource("../copy")) == before


def test_large_folders_are_sampled(folder, monkeypatch):
    """Contents of some files are read, names and sizes of all are compared."""
    monkeypatch.setattr(module, "SAMPLED", 2)
    before = fingerprint(FolderSource(folder, memory=0))
    overwrite(folder)  # neither the first nor the last
    assert fingerprint(FolderSource(folder, memory=0)) == before
    shutil.copy(folder / "cat" / "1.bmp", folder / "dog" / "3.bmp")
    assert fingerprint(FolderSource(folder, memory=0)) != before


def sources(images, labels, tmp_path):
    """Yield a source of each kind."""
    array = ArraySource(images, labels)
    yield array
    yield Subset(array, np.arange(len(images) - 1))
    yield Relabelled(ArraySource(images), labels)
    yield IndexedSource(list(zip(images, labels)))
    yield IndexedSource(list(zip(images, labels)), memory=0)
    write_beton(array, tmp_path / "x.beton")
    yield BetonSource(tmp_path / "x.beton", memory=0)

    class Digits:
        data, targets = images, labels

        def __len__(self):
            return len(labels)

        def __getitem__(self, position):
            return Image.fromarray(images[position]), labels[position]

    yield TorchvisionSource(Digits())


def test_each_source_notices_other_images_and_labels(noise, tmp_path):
    labels = np.arange(len(noise)) % 3
    other_images, other_labels = noise.copy(), labels.copy()
    other_images[7, 3, 3] ^= 1
    other_labels[[0, 1]] = other_labels[[1, 0]]
    found = [[fingerprint(s) for s in sources(*each, tmp_path)] for each in (
        (noise, labels), (noise.copy(), labels), (other_images, labels), (noise, other_labels)
    )]  # fmt: skip
    for same, again, images, names in zip(*found, strict=True):
        assert same == again
        assert {key for key in same if images[key] != same[key]} == {"images"}
        assert {key for key in same if names[key] != same[key]} == {"labels"}


def test_large_arrays_are_hashed_in_part(monkeypatch, noise):
    whole = module.array_fingerprint(noise)
    assert whole.startswith("20 x 40 x 32 x 3, sha256 ")
    monkeypatch.setattr(module, "MAX_BYTES", noise.nbytes // 2)
    half = module.array_fingerprint(noise)
    assert half != whole
    changed = noise.copy()
    changed[1] = 0  # every second image is hashed
    assert module.array_fingerprint(changed) == half
    changed[2] = 0
    assert module.array_fingerprint(changed) != half


def test_torchvision_folders_are_compared_by_their_files(folder):
    from torchvision.datasets import ImageFolder

    before = fingerprint(TorchvisionSource(ImageFolder(folder), memory=0))
    assert before["images"] == fingerprint(FolderSource(folder, memory=0))["images"]


def test_own_sources_may_have_a_fingerprint(noise):
    class Own:
        images = None
        labels, ids, class_names = np.zeros(20, np.int64), np.arange(20), ["all"]
        version = "1"

        def __len__(self):
            return 20

        def image(self, position):
            return noise[position]

    own = Own()
    loader = Loader(Subset(own, np.arange(10)), views("simclr", 32), 4)
    assert loader.fingerprint()["images"] == ""  # labels, ids and names are still compared
    own.fingerprint = lambda: own.version
    assert loader.fingerprint()["images"] == "1"

    class Versioned(list):
        def fingerprint(self):
            return 2

    assert fingerprint(IndexedSource(Versioned(noise)))["images"] == "2"


def test_loaders_of_each_rank_have_the_same_fingerprint():
    first, second = (DataConfig(fraction=0.2).open(32, seed=0, rank=rank, world_size=2) for rank in (0, 1))
    assert first.fingerprint() == second.fingerprint()
    assert set(first.fingerprint()) == {"train", "digits"}
    assert first.fingerprint()["train"] != DataConfig(fraction=0.2).open(32, seed=1).fingerprint()["train"]
