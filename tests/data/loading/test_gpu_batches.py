"""Data that stays on the device, here the processor as torch's device: the same batches as those made by threads."""

import gc
import weakref

import numpy as np
import pytest
import torch

from ssl_data import ArraySource, FolderSource, Loader, Subset, views
from ssl_data.augment.sampling import PARAMETERS, sample_parameters

TOLERANCE = 2 * 0.02 / 255  # each executor is within 0.02 grey levels of the reference


def array_source():
    rng = np.random.default_rng(1)
    return ArraySource(rng.integers(0, 256, (50, 32, 32, 3), dtype=np.uint8), np.arange(50) % 5)


@pytest.fixture(scope="module")
def source():
    return array_source()


def make(source, **options):
    return Loader(source, views("simclr", size=32), **{"batch_size": 8, "num_workers": 1, **options})


@pytest.mark.parametrize("options", [{}, {"rank": 1, "world_size": 2}, {"shuffle": False, "drop_last": False}])
def test_it_gives_the_batches_of_the_processor(source, options):
    on_host, on_device = make(source, **options), make(source, device="cpu", **options)
    assert len(on_host) == len(on_device)
    for epoch in (0, 1):
        steps = 0
        for ours, theirs in zip(on_device.start(epoch), on_host.start(epoch), strict=True):
            assert torch.equal(ours[1], theirs[1])
            assert torch.equal(ours[2], theirs[2])
            for a, b in zip(ours[0], theirs[0], strict=True):
                assert a.is_contiguous(memory_format=torch.channels_last)
                assert (a - b).abs().max() < TOLERANCE
            steps += 1
        assert steps == len(on_host)


def test_subset_keeps_its_ids_and_so_its_views():
    whole = array_source()
    part = Subset(whole, np.arange(7, 47, 2))
    on_host, on_device = (next(iter(make(part, shuffle=False, device=device))) for device in (None, "cpu"))
    assert on_device[2].tolist() == list(range(7, 23, 2))
    assert torch.equal(on_device[1], torch.from_numpy(whole.labels)[on_device[2]])
    assert all((a - b).abs().max() < TOLERANCE for a, b in zip(on_device[0], on_host[0]))


def test_it_starts_anywhere_as_if_it_had_never_stopped(source):
    loader = make(source, device="cpu")
    through = [list(loader) for _ in range(2)]
    resumed = list(make(source, device="cpu").start(1, 2))
    assert len(resumed) == len(through[1]) - 2
    for ours, theirs in zip(resumed, through[1][2:]):
        assert torch.equal(ours[2], theirs[2])
        assert all(torch.equal(a, b) for a, b in zip(ours[0], theirs[0]))


def test_batch_that_is_held_is_never_overwritten(source):
    iterator = iter(make(source, device="cpu"))
    held = next(iterator)
    kept = [held[0][0].clone(), held[1].clone()]
    held[0][1].zero_()  # it is the user's
    for _ in iterator:
        pass
    assert torch.equal(held[0][0], kept[0])
    assert torch.equal(held[1], kept[1])


@pytest.mark.parametrize("device", [None, "cpu"])
def test_bfloat16_is_float32_rounded(source, device):
    single, half = (next(iter(make(source, device=device, dtype=kind))) for kind in (torch.float32, torch.bfloat16))
    for a, b in zip(single[0], half[0]):
        assert b.dtype == torch.bfloat16
        assert b.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(a.to(torch.bfloat16), b)


@pytest.mark.parametrize("device", [None, "cpu"])
def test_parameters_of_the_views_are_returned(source, device):
    loader = make(source, device=device, seed=3, return_parameters=True).start(2, 1)
    images, _, indices, parameters = next(iter(loader))
    assert len(parameters) == len(images) == 2
    for view, columns in enumerate(parameters):
        assert set(columns) == set(PARAMETERS.names)
        expected = sample_parameters(loader.views[view], 3, 2, indices.numpy(), view, 32, 32)
        for name, column in columns.items():
            assert np.array_equal(column.numpy(), expected[name].astype(column.numpy().dtype)), name


def test_parameters_come_with_images_of_any_size(tmp_path):
    from PIL import Image

    (tmp_path / "a").mkdir()
    for number in range(4):
        Image.new("RGB", (40 + number, 30)).save(tmp_path / "a" / f"{number}.png")
    loader = make(FolderSource(tmp_path), batch_size=4, shuffle=False, return_parameters=True)
    *_, parameters = next(iter(loader))
    assert parameters[0]["image_width"].tolist() == [40, 41, 42, 43]
    assert parameters[1]["image_height"].tolist() == [30] * 4


def test_loaders_of_one_source_share_its_copy_and_let_it_go():
    source = array_source()
    first, second = make(source, device="cpu"), make(source, device="cpu")
    assert first._batches._images is second._batches._images
    gone = weakref.ref(source)
    del first, second, source
    gc.collect()
    assert gone() is None


def test_images_that_may_not_be_written_are_taken_as_well():
    source = array_source()
    source.images.flags.writeable = False
    assert len(next(iter(make(source, device="cpu")))[1]) == 8


def test_source_that_is_not_in_memory_raises(tmp_path):
    from PIL import Image

    (tmp_path / "a").mkdir()
    for number, size in enumerate((32, 40)):
        Image.new("RGB", (size, size)).save(tmp_path / "a" / f"{number}.png")
    with pytest.raises(ValueError, match=r"device='cpu': the images of the source are not in memory"):
        make(FolderSource(tmp_path), batch_size=2, device="cpu")
    with pytest.raises(ValueError, match=r"dtype=torch.float16: expected"):
        make(FolderSource(tmp_path), batch_size=2, dtype=torch.float16)
