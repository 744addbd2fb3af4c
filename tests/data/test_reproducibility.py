"""Every source and transform: workers, ranks and the point of resumption change no bit. Oracle: one process, from the start.

A new source is a row of ``SOURCES``, a new transform one of ``TRANSFORMS``.
"""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets
from torchvision.transforms import v2

from loader_batches import equal, together
from ssl_data import (
    ArraySource,
    BetonSource,
    FolderSource,
    IndexedSource,
    Loader,
    Relabelled,
    SampleSource,
    Subset,
    views,
    write_beton,
)
from ssl_data.augment.operations import PatchDrop, RandomErasing, ThreeAugment, VerticalFlip

M, SIZE, BATCH, SEED = 10, 10, 4, 3  # three steps; the last one has two samples, fewer than ranks
STEPS, WORLD_SIZES = 3, (2, 3, 4)


def images():
    return np.random.default_rng(0).integers(0, 256, (M, SIZE, SIZE, 3), dtype=np.uint8)


def labels():
    return np.arange(M) % 2


def folder(path):
    for index, image in enumerate(images()):
        place = path / str(index % 2)
        place.mkdir(exist_ok=True, parents=True)
        Image.fromarray(image).save(place / f"{index}.png")
    return FolderSource(path, memory=0)


def beton(path):
    write_beton(ArraySource(images(), labels()), path / "images.beton")
    return BetonSource(path / "images.beton")


def hugging_face(path):
    library = pytest.importorskip("datasets")
    pictures = [Image.fromarray(image) for image in images()]
    features = library.Features({"image": library.Image(), "label": library.ClassLabel(names=["a", "b"])})
    return library.Dataset.from_dict({"image": pictures, "label": labels().tolist()}, features=features)


class Pairs(torch.utils.data.Dataset):
    """A data set of a user, with a random transform of its own."""

    def __len__(self):
        return M

    def __getitem__(self, index):
        return torch.from_numpy(images()[index]).permute(2, 0, 1).roll(int(torch.randint(9, ())), -1), index % 2


SOURCES = {
    "array": lambda path: ArraySource(images(), labels()),
    "subset": lambda path: Relabelled(Subset(ArraySource(np.tile(images(), (2, 1, 1, 1))), np.arange(5, 15)), labels()),
    "folder": folder,
    "beton": beton,
    "indexed": lambda path: IndexedSource([(Image.fromarray(each), 0) for each in images()]),
    "hugging face": lambda path: IndexedSource(hugging_face(path)),
    "samples": lambda path: SampleSource(torch.from_numpy(images()).permute(0, 3, 1, 2), labels()),
    "samples of a random data set": lambda path: SampleSource(Pairs()),
    "samples of hugging face": lambda path: SampleSource(hugging_face(path)),
    "samples of torchvision": lambda path: SampleSource(datasets.FakeData(M, (3, SIZE, SIZE), 2)),
}


def tensor(sample):
    return v2.functional.to_dtype(v2.functional.to_image(sample), torch.float32, scale=True)


def function(sample, generator):
    return tensor(sample) + torch.randn((), generator=generator)


def in_place(sample, generator):
    return tensor(sample).add_(torch.randn((), generator=generator))


def of_python_and_numpy(sample):
    return tensor(sample) * random.random() + np.random.rand()  # noqa: NPY002


def several(sample, generator):
    return [function(sample, generator)[..., :5], function(sample, generator)]


def mixed(batch, generator):
    (first, second), labels, ids = batch
    return [first * torch.rand((), generator=generator), second], labels, ids


def albumentations():
    library = pytest.importorskip("albumentations")
    parts = [
        library.RandomCrop(8, 8),
        library.OneOf([library.HorizontalFlip(p=1), library.RandomBrightnessContrast(p=1)]),
    ]
    return library.Compose([*parts, library.Normalize(), library.ToTensorV2()])


def kornia():
    library = pytest.importorskip("kornia").augmentation
    random_parts = (
        library.RandomHorizontalFlip(keepdim=True),
        library.ColorJiggle(0.4, 0.4, 0.4, 0.1, p=1.0, keepdim=True),
    )
    return v2.Compose([tensor, *random_parts])


PIPELINE = v2.Compose(
    [v2.ToImage(), v2.RandomResizedCrop(8), v2.ColorJitter(0.4, 0.4), v2.ToDtype(torch.float32, scale=True)]
)
OPERATIONS = (VerticalFlip(), ThreeAugment(), RandomErasing(), PatchDrop(grid=2))
TRANSFORMS = {  # name -> views and options of the loader
    "preset": lambda: (views("simclr", size=8), {}),
    "batched preset": lambda: (views("byol", size=8), {"device": "cpu"}),
    "operations": lambda: ([spec.changed({"operations": OPERATIONS}) for spec in views("simclr", size=8)], {}),
    "function": lambda: ([function, function], {}),
    "pipeline": lambda: ([PIPELINE, PIPELINE], {}),
    "batch_transform": lambda: ([function, PIPELINE], {"batch_transform": mixed}),
    "function that changes its sample": lambda: ([in_place, in_place], {}),
    "generators of python and numpy": lambda: ([of_python_and_numpy] * 3, {}),
    "several views of a function": lambda: ([several], {}),
    "albumentations": lambda: ([albumentations(), albumentations()], {}),
    "kornia": lambda: ([kornia(), kornia()], {}),
}
FUSED, ALL = ["preset", "operations"], ["preset", "operations", "function", "pipeline", "batch_transform"]
CASES = [
    *(
        (source, transform)
        for source in SOURCES
        for transform in ALL
        if "samples" not in source or transform not in FUSED
    ),
    *(("array", transform) for transform in TRANSFORMS if transform not in ALL),
]


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Return a function that makes a loader of a source and a transform."""
    opened = {}

    def make_loader(source, transform, **options):
        if source not in opened:
            opened[source] = SOURCES[source](tmp_path_factory.mktemp("source"))
        specs, own = TRANSFORMS[transform]()
        options = {"num_workers": 0 if callable(specs[0]) else 1, **own, **options}
        return Loader(opened[source], specs, BATCH, seed=SEED, drop_last=False, **options)

    return make_loader


def bits(batches):
    """Return the batches with tensors of their own."""
    return [([view.clone() for view in each[0]], *each[1:]) for each in batches]


@pytest.mark.parametrize(("source", "transform"), CASES)
def test_ranks_and_resumption_change_no_bit(make, source, transform):
    loader = make(source, transform)
    first, second = bits(loader), bits(loader)
    assert not torch.equal(torch.cat([each[0][0] for each in first]), torch.cat([each[0][0] for each in second]))
    for step in range(STEPS + 1):
        assert equal(bits(make(source, transform).start(1, step)), second[step:])
    for world_size in WORLD_SIZES if transform != "batch_transform" else ():  # it depends on the number of ranks
        ranks = [bits(make(source, transform, rank=rank, world_size=world_size)) for rank in range(world_size)]
        assert equal(together(ranks), first)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than processors
@pytest.mark.parametrize(
    ("source", "transform", "num_workers"), [(*case, 1 + number % 4) for number, case in enumerate(CASES)]
)
def test_workers_change_no_bit(make, source, transform, num_workers):
    """One number of workers for each combination, since processes take time to start."""
    alone = bits(make(source, transform).start(1, 1))
    assert equal(bits(make(source, transform, num_workers=num_workers).start(1, 1)), alone)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("transform", ["preset", "pipeline"])
def test_each_number_of_workers_changes_no_bit(make, transform):
    alone = bits(make("array", transform))
    for num_workers in (1, 2, 3, 4):
        assert equal(bits(make("array", transform, num_workers=num_workers)), alone)


def test_another_seed_changes_each_view(make):
    loaders = [
        make("array", transform) for transform in ("preset", "operations", "function", "pipeline", "albumentations")
    ]
    for loader in loaders:
        other = Loader(loader.source, loader.views, BATCH, seed=SEED + 1, num_workers=loader.num_workers).in_order()
        rows, others = (
            [torch.cat(parts) for parts in zip(*(batch[0] for batch in bits(each)))]
            for each in (loader.in_order(), other)
        )
        assert not any(torch.equal(a, b) for a, b in zip(rows, others))
