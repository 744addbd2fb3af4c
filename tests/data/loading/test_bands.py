"""Batches of images of 13 bands are the same for any number of threads, ranks and any point of resumption."""

import numpy as np
import pytest
import torch

from ssl_data import ArraySource, Loader, Subset, ViewSpec
from ssl_data.sources.lazy import StoredSource

M = 40
SPECS = [ViewSpec(size=12, crop_scale=(0.2, 1.0), flip=0.5, jitter=1.0, brightness=0.4, contrast=0.4, noise=0.1)] * 2


class Files(StoredSource):
    """Images that are read one by one, as from files."""

    value_range = None

    def __init__(self, stored):
        super().__init__("files", np.arange(len(stored)) % 3, list("012"), "raise", 0.0)
        self.stored = list(stored)

    def _read(self, position):
        return self.stored[position]

    def _describe(self, position):
        return f"file {position}"


def images(kind):
    values = np.random.default_rng(0).random((M, 16, 16, 13), dtype=np.float32)
    return values if kind is np.float32 else (values * np.iinfo(kind).max).astype(kind)


SOURCES = {
    "uint16": lambda: ArraySource(images(np.uint16), np.arange(M) % 3),
    "float32": lambda: ArraySource(images(np.float32), np.arange(M) % 3),
    "uint16 files": lambda: Files(images(np.uint16)),
    "float32 files": lambda: Files(images(np.float32)),
}
sources = pytest.mark.parametrize("source", [make() for make in SOURCES.values()], ids=list(SOURCES))


def epoch_of(source, epoch=1, step=0, **options):
    """Return the rest of an epoch: each view of each sample by its id."""
    loader = Loader(source, SPECS, **{"batch_size": 8, "seed": 3, "num_workers": 1, **options})
    return list(loader.start(epoch, step))


def assert_same(batches, others):
    for (views, labels, ids), (their_views, their_labels, their_ids) in zip(batches, others, strict=True):
        assert torch.equal(ids, their_ids)
        assert torch.equal(labels, their_labels)
        assert all(torch.equal(a, b) for a, b in zip(views, their_views, strict=True))


@sources
@pytest.mark.parametrize("num_workers", [0, 2, 3, 4])
def test_threads_do_not_change_a_bit(source, num_workers):
    batches = epoch_of(source)
    assert batches[0][0][0].shape == (8, 13, 12, 12)
    assert_same(batches, epoch_of(source, num_workers=num_workers))


@sources
@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_ranks_share_the_same_global_batches(source, world_size):
    whole = epoch_of(source, batch_size=12)
    shares = [epoch_of(source, batch_size=12, rank=rank, world_size=world_size) for rank in range(world_size)]
    joined = [
        (
            [torch.cat(view) for view in zip(*(part[0] for part in parts))],
            *(torch.cat([p[k] for p in parts]) for k in (1, 2)),
        )
        for parts in zip(*shares, strict=True)
    ]
    assert_same(whole, joined)


@sources
@pytest.mark.parametrize("step", [1, 3])
def test_it_resumes_in_the_middle(source, step):
    assert_same(epoch_of(source)[step:], epoch_of(source, step=step, num_workers=2))


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_files_and_subsets_have_the_views_of_the_array(kind):
    array, files = ArraySource(images(kind), np.arange(M) % 3), Files(images(kind))
    assert_same(epoch_of(array), epoch_of(files))
    part = Subset(array, np.arange(0, M, 2))
    by_id = {int(i): view for views, _, ids in epoch_of(array) for i, view in zip(ids, views[1])}
    for views, _, ids in epoch_of(part):
        assert all(torch.equal(view, by_id[int(i)]) for i, view in zip(ids, views[1]))


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_device_gives_the_batches_of_the_processor(kind):
    source = ArraySource(images(kind), np.arange(M) % 3)
    on_host, on_device = epoch_of(source), epoch_of(source, device="cpu")
    for (views, labels, ids), (theirs, their_labels, their_ids) in zip(on_host, on_device, strict=True):
        assert torch.equal(ids, their_ids)
        assert torch.equal(labels, their_labels)
        assert all((a - b).abs().max() < 2e-5 for a, b in zip(views, theirs))
    assert_same(on_device[2:], epoch_of(source, step=2, device="cpu"))


@pytest.mark.parametrize(
    ("kind", "image", "message"),
    [
        (np.uint16, np.zeros((16, 16, 12), np.uint16), "sample 5 has 12 bands of uint16, the first has 13 of uint16"),
        (np.uint16, np.zeros((16, 16, 13), np.float32), "sample 5 has 13 bands of float32, the first has 13 of uint16"),
        (np.float32, np.full((16, 16, 13), np.nan, np.float32), "sample 5: the value nan in row 0, column 0, band 0"),
        (np.float32, np.full((16, 16, 13), 2, np.float32), r"sample 5: the value 2 .* of value_range=\(0, 1\)"),
    ],
)
def test_other_files_name_the_sample(kind, image, message):
    source = Files(images(kind))
    source.stored[5] = image
    with pytest.raises(ValueError, match=message):
        epoch_of(source, num_workers=2)


@pytest.mark.parametrize("device", [None, "cpu"])
def test_values_of_a_user_defined_source_are_checked(device):
    """A source that is not an ArraySource was not checked when it was made."""
    source = Files(images(np.float32))
    source.images = images(np.float32)
    source.images[7, 2, 1, 3] = -1
    with pytest.raises(ValueError, match="sample 7: the value -1 in row 2, column 1, band 3 is outside of value_range"):
        Loader(source, SPECS, 8, device=device)
