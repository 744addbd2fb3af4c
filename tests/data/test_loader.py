import threading
import time

import numpy as np
import pytest
import torch

from loader_batches import equal, together
from ssl_data import ArraySource, FolderSource, Loader, views


@pytest.fixture(scope="module")
def source():
    rng = np.random.default_rng(1)
    return ArraySource(rng.integers(0, 256, (50, 32, 32, 3), dtype=np.uint8), np.arange(50) % 5)


def make(source, **options):
    return Loader(source, views("simclr", size=32), **{"batch_size": 8, "num_workers": 1, **options})


def drain(loader):
    return [([view.clone() for view in batch[0]], *batch[1:]) for batch in loader]


def test_shapes_types_and_memory_format(source):
    images, labels, indices = next(iter(make(source)))
    assert [tuple(view.shape) for view in images] == [(8, 3, 32, 32)] * 2
    assert images[0].dtype == torch.float32
    assert images[0].is_contiguous(memory_format=torch.channels_last)
    assert labels.dtype == indices.dtype == torch.int64
    assert torch.equal(labels, indices % 5)


def test_each_epoch_has_each_sample_once_in_its_own_order(source):
    loader = make(source, drop_last=False)
    first, second = ([i for batch in loader for i in batch[2].tolist()] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert len(loader) == 7
    assert len(make(source)) == 6


def test_threads_do_not_change_a_pixel(source):
    assert equal(drain(make(source, num_workers=1)), drain(make(source, num_workers=3)))


def test_batch_made_by_several_calls_equals_that_of_one():
    images = np.random.default_rng(2).integers(0, 256, (600, 8, 8, 3), dtype=np.uint8)
    cut, small = (make(ArraySource(images), batch_size=size, num_workers=2) for size in (600, 100))
    assert len(cut._batches.job(np.arange(600), 0)[1]) > 1
    assert len(small._batches.job(np.arange(100), 0)[1]) == 1
    [whole], parts = drain(cut), drain(small)
    assert all(torch.equal(whole[0][view], torch.cat([part[0][view] for part in parts])) for view in (0, 1))


def test_batch_size_does_not_change_a_view(source):
    small, large = drain(make(source, batch_size=5)), drain(make(source, batch_size=10))
    joined = [torch.cat([a[0][0], b[0][0]]) for a, b in zip(small[::2], small[1::2])]
    assert all(torch.equal(a, b[0][0]) for a, b in zip(joined, large))


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_share_the_same_global_batches(source, world_size, drop_last):
    """The last batch of 2 samples, where it is kept, leaves two of four ranks without any."""
    alone = drain(make(source, drop_last=drop_last))
    ranks = [
        drain(make(source, drop_last=drop_last, rank=rank, world_size=world_size, num_workers=1 + rank))
        for rank in range(world_size)
    ]
    assert len(alone) == (6 if drop_last else 7)
    assert equal(alone, together(ranks))


def test_resized_run_continues_the_same_stream(source):
    """From one rank to four at a step boundary, to two in the next epoch, and back to one."""
    loader = make(source)
    alone = [drain(loader), drain(loader), drain(loader)]
    iterator = iter(make(source))
    assert equal([next(iterator) for _ in range(2)], alone[0][:2])
    iterator.close()
    four = [make(source, rank=rank, world_size=4).start(0, 2) for rank in range(4)]
    assert equal(together([drain(each) for each in four]), alone[0][2:])
    halves = [iter(make(source, rank=rank, world_size=2).start(1, 0)) for rank in range(2)]
    assert equal(together([[next(each) for _ in range(3)] for each in halves]), alone[1][:3])
    last = make(source, num_workers=2).start(1, 3)
    assert equal(drain(last), alone[1][3:])
    assert equal(drain(last), alone[2])


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("batch_size", "world_size"), [(8, 2), (7, 3), (8, 4), (50, 4), (3, 5), (64, 7)])
def test_every_sample_is_seen_exactly_once_over_the_ranks(source, batch_size, world_size, shuffle):
    """50 samples, which few of these divide; a batch may be larger than the data."""
    seen = []
    for rank in range(world_size):
        options = {"batch_size": batch_size, "shuffle": shuffle, "drop_last": False}
        loader = make(source, rank=rank, world_size=world_size, **options)
        batches = list(loader)
        assert len(batches) == len(loader) == -(-50 // batch_size)
        seen += [i for batch in batches for i in batch[2].tolist()]
    assert sorted(seen) == list(range(50))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU to copy to")
def test_memory_is_pinned_where_there_is_a_gpu(source):
    assert all(view.is_pinned() for view in next(iter(make(source)))[0])


@pytest.mark.parametrize(("epoch", "step"), [(0, 0), (0, 3), (2, 0), (2, 5)])
def test_it_starts_anywhere_as_if_it_had_never_stopped(source, epoch, step):
    loader = make(source)
    through = [drain(loader) for _ in range(4)]
    resumed = make(source).start(epoch, step)
    assert equal(drain(resumed), through[epoch][step:])
    assert equal(drain(resumed), through[epoch + 1])


def test_seed_changes_order_and_views(source):
    a, b = drain(make(source, seed=0)), drain(make(source, seed=1))
    assert not torch.equal(a[0][2], b[0][2])


def test_batch_that_is_held_is_never_overwritten(source):
    iterator = iter(make(source))
    held = next(iterator)
    kept = held[0][0].clone()
    for _ in iterator:
        pass
    assert torch.equal(held[0][0], kept)


def test_early_breaks_leave_no_thread_behind(source):
    before = threading.active_count()
    loader = make(source, num_workers=2)
    for _ in range(30):
        for _ in loader:
            break
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_error_in_the_background_reaches_the_consumer(tmp_path, source):
    from PIL import Image

    (tmp_path / "a").mkdir()
    for name, size in (("0.png", 32), ("1.png", 40)):  # two sizes: decoded batch by batch
        Image.fromarray(np.zeros((size, size, 3), np.uint8)).save(tmp_path / "a" / name)
    folder = FolderSource(tmp_path)
    (tmp_path / "a" / "1.png").write_bytes(b"no image")
    loader = make(folder, batch_size=2, shuffle=False)
    with pytest.raises(ValueError, match=r"sample 1, '.*1.png', cannot be read"):
        drain(loader)


def test_replacement_is_the_same_for_all_workers_and_ranks(tmp_path, source):
    from PIL import Image

    (tmp_path / "a").mkdir()
    for index in range(12):
        Image.fromarray(source.images[index]).save(tmp_path / "a" / f"{index:02}.png")
    for index in (4, 5, 11):
        (tmp_path / "a" / f"{index:02}.png").write_bytes(b"no image")

    def skipping(**options):
        loader = make(FolderSource(tmp_path, "skip", memory=0, skip_limit=0.25), **{"batch_size": 6, **options})
        return [drain(loader), drain(loader)]

    alone = skipping()
    assert all(equal(a, b) for a, b in zip(alone, skipping(num_workers=3)))
    ranks = [skipping(rank=rank, world_size=2) for rank in range(2)]
    assert all(equal(alone[epoch], together([each[epoch] for each in ranks])) for epoch in range(2))
    views_of = {int(index): batch[0][0][row] for batch in alone[0] for row, index in enumerate(batch[2])}
    assert sorted(views_of) == list(range(12))
    assert not torch.equal(views_of[4], views_of[6])  # the picture of 6 under the views of 4


def test_images_of_different_sizes_give_views_as_from_memory(tmp_path, source):
    from PIL import Image

    (tmp_path / "a").mkdir()
    for index in range(10):
        Image.fromarray(source.images[index]).save(tmp_path / "a" / f"{index}.png")
    kept = FolderSource(tmp_path)
    streamed = FolderSource(tmp_path, memory=0)
    assert kept.images is not None
    assert streamed.images is None
    assert equal(drain(make(kept, batch_size=5)), drain(make(streamed, batch_size=5, num_workers=2)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 51}, r"^batch_size=51: larger.*50 samples"),
        ({"batch_size": 9, "world_size": 2}, r"^batch_size=9: 2 ranks cannot share it evenly"),
        ({"seed": -1}, r"^seed=-1: expected 0 to"),
        ({"batch_size": 0}, "^batch_size=0: expected at least 1"),
        ({"rank": 2, "world_size": 2}, "^rank=2: expected 0 <= rank < world_size=2"),
    ],
)
def test_invalid_batch_sizes_raise(source, options, message):
    with pytest.raises(ValueError, match=message):
        make(source, **options)


@pytest.mark.parametrize("shuffle", [False, True])
def test_subset_gives_the_same_views_of_its_samples(source, shuffle):
    whole = make(source, shuffle=shuffle, drop_last=False)
    part = whole.subset([3, 7, 20, 41, 42, 49]).subset([0, 2, 3, 5])
    assert (len(part), part.labels.tolist()) == (1, [3, 0, 1, 4])
    assert len(whole.labels) == 50
    kept = torch.tensor([3, 20, 41, 49])
    expected = {
        int(index): (label, first, second)
        for (firsts, seconds), labels, ids in drain(whole)
        for first, second, label, index in zip(firsts, seconds, labels, ids)
        if index in kept
    }
    ((firsts, seconds), labels, ids) = drain(part)[0]
    assert sorted(ids.tolist()) == kept.tolist()
    assert ids.tolist() == list(expected)  # in the same order
    for first, second, label, index in zip(firsts, seconds, labels, ids):
        known = expected[int(index)]
        assert label == known[0]
        assert torch.equal(first, known[1])
        assert torch.equal(second, known[2])


def test_in_order_gives_every_sample_with_the_views_of_the_epoch(source):
    loader = make(source)
    ordered = drain(loader.in_order().start(epoch=3))
    ids = torch.cat([batch[2] for batch in ordered])
    assert ids.tolist() == list(range(50))
    views = torch.cat([batch[0][1] for batch in ordered])
    shuffled = drain(loader.start(epoch=3))
    assert len(shuffled) == 6  # without the last, smaller batch
    for (_, second), _, ids in shuffled:
        assert torch.equal(second, views[ids])
