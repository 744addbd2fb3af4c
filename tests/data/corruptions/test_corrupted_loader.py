"""Loaders of corrupted images, and of folders from elsewhere, under the evaluation view of a run."""

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_data import ArraySource, DataConfig, Loader, corrupt, views
from ssl_data.corruptions.loader import CorruptedLoader

PIXELS = np.random.default_rng(0).integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def batches(corruption, batch_size=4, rank=0, world_size=1, num_workers=1):
    source = ArraySource(PIXELS, np.arange(10) % 3)
    options = {"shuffle": False, "drop_last": False, "rank": rank, "world_size": world_size}
    clean = Loader(source, views("evaluation", 32, MEAN, STD), batch_size, **options)
    return list(CorruptedLoader(clean, MEAN, STD, corruption, 3, seed=7, num_workers=num_workers))


@pytest.mark.parametrize("corruption", ["gaussian_noise", "jpeg_compression"])
def test_batches_have_the_normalised_pixels(corruption):
    found = batches(corruption)
    images = torch.cat([batch[0] for batch, _, _ in found]).permute(0, 2, 3, 1).numpy()
    expected = np.stack([corrupt(each, corruption, 3, seed=7, index=k) for k, each in enumerate(PIXELS)])
    np.testing.assert_allclose(images * STD + MEAN, expected / 255, atol=1e-6)
    assert torch.cat([labels for _, labels, _ in found]).tolist() == [k % 3 for k in range(10)]


def test_pixels_do_not_depend_on_batches_ranks_and_threads():
    expected = {int(i): image for batch, _, ids in batches("snow") for image, i in zip(batch[0], ids)}
    others = [batches("snow", 6, num_workers=3), *(batches("snow", 4, rank, 2) for rank in (0, 1))]
    found = [{int(i): image for batch, _, ids in each for image, i in zip(batch[0], ids)} for each in others]
    for images in (found[0], found[1] | found[2]):
        assert images.keys() == expected.keys()
        assert all(torch.equal(images[i], expected[i]) for i in expected)


def test_rank_without_samples_in_the_last_batch():
    found = [batches("snow", rank=rank, world_size=4)[-1] for rank in range(4)]  # of two samples
    assert [tuple(images[0].shape) for images, _, _ in found] == [(1, 3, 32, 32)] * 2 + [(0, 3, 32, 32)] * 2
    assert torch.cat([ids for _, _, ids in found]).tolist() == [8, 9]


def test_loaders_of_a_configuration_are_corrupted_by_name():
    loaders = DataConfig(dataset="digits", num_workers=1).open(32, 0)
    corrupted = loaders.corrupted("contrast", 5)["digits"]
    clean = next(iter(loaders.evaluation["digits"]))[0][0]
    [views], _, _ = next(iter(corrupted))
    assert views.shape == clean.shape
    assert views.std() < 0.3 * clean.std()
    assert len(corrupted) == len(loaders.evaluation["digits"])


def test_images_that_cannot_be_corrupted_are_an_error():
    rng = np.random.default_rng(0)
    for data, kind, message in (
        (rng.random((8, 8, 8, 3), np.float32), "simclr", r"data.pixels: .*'test' needs .* uint8, got 3 of float32"),
        (rng.integers(0, 9, (8, 8, 8, 4), np.uint8), "digits", "data.pixels: .* got 4 of uint8"),
        (torch.rand(8, 3, 8, 8), [lambda x: x], "data.views: .* these views are functions"),
    ):
        labels = np.arange(8) % 2
        loaders = DataConfig.of((data, labels), (data, labels), kind, num_workers=0 if callable(kind[0]) else 1).open(
            4, 0
        )
        with pytest.raises(ValueError, match=message):
            loaders.corrupted("fog", 1)
    with pytest.raises(ValueError, match="severity=9"):
        DataConfig(dataset="digits").open(4, 0).corrupted("fog", 9)


def test_folder_is_read_under_the_evaluation_view(tmp_path):
    for name, value in (("1", 50), ("10", 100), ("9", 200)):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((40, 60, 3), value, np.uint8)).save(tmp_path / name / "a.png")
    labels = np.arange(8) % 2
    loaders = DataConfig.of((PIXELS[:8], labels), (PIXELS[:8], labels), "simclr", num_workers=1).open(4, 0)
    loader, names = loaders.of_folder(str(tmp_path))
    [(batch, labels, _)] = list(loader)
    assert batch[0].shape == (3, 3, 32, 32)
    mean, std = torch.tensor(loaders.mean), torch.tensor(loaders.std)
    pixels = 255 * (batch[0][:, :, 5, 5] * std + mean)
    torch.testing.assert_close(pixels, torch.tensor([50.0, 100, 200])[:, None].expand(3, 3))
    assert names == ["1", "10", "9"]
    digits = DataConfig(dataset="digits").open(4, 0)
    with pytest.raises(ValueError, match="its images are RGB of uint8, those of the run have 1 band of uint8"):
        digits.of_folder(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        loaders.of_folder(str(tmp_path / "none"))
    with pytest.raises(ValueError, match="expected a folder for each class, found 1 images"):
        loaders.of_folder(str(tmp_path / "9"))
