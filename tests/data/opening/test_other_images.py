"""Images of another data set, opened for a model: pixels against the normalization in float64, and invalid input."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_data import DataConfig
from ssl_data.opening.other_images import check_other_images, name_of_other_images, open_other_images

RGB = SimpleNamespace(image_shape=(3, 8, 8), mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))


@pytest.fixture
def photographs(tmp_path):
    """Five images of 8 by 8 in ``textures/test``, without classes, in lossless files."""
    folder = tmp_path / "textures" / "test"
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number}.png")
    return folder.parent, pixels


def whole(loader):
    batches = list(loader)
    return torch.cat([views[0] for views, _, _ in batches]), torch.cat([ids for _, _, ids in batches])


def test_pixels_are_normalized_as_those_of_the_model(photographs):
    folder, pixels = photographs
    images, ids = whole(open_other_images(str(folder), RGB, batch_size=2, num_workers=1))
    expected = (pixels / 255 - np.array(RGB.mean)) / np.array(RGB.std)
    np.testing.assert_allclose(images.numpy(), expected.transpose(0, 3, 1, 2), atol=1e-5)
    assert ids.tolist() == list(range(5))


def test_grey_images_have_three_equal_bands(tmp_path):
    images, _ = whole(open_other_images("digits", RGB, batch_size=64, num_workers=1))
    assert images.shape == (364, 3, 8, 8)
    stored = images * torch.tensor(RGB.std)[:, None, None] + torch.tensor(RGB.mean)[:, None, None]
    torch.testing.assert_close(stored[:, 0], stored[:, 2], atol=1e-5, rtol=0)
    own = DataConfig(dataset="digits", size=8).open(64, 0)
    test, _ = whole(own.evaluation["digits"])
    torch.testing.assert_close(stored[:, :1], test * own.std[0] + own.mean[0], atol=1e-5, rtol=0)


def test_ranks_share_the_images(photographs):
    parts = [whole(open_other_images(str(photographs[0]), RGB, 2, rank, 2, num_workers=1))[1] for rank in (0, 1)]
    assert sorted(torch.cat(parts).tolist()) == list(range(5))


def test_name_of_a_folder_is_that_of_the_data_set(photographs, tmp_path):
    folder, _ = photographs
    named = [name_of_other_images(str(each)) for each in (folder, folder / "test", "data/SVHN", tmp_path / "a.beton")]
    assert named == ["textures", "textures", "svhn", "a"]


@pytest.mark.parametrize(
    ("where", "like", "message"),
    [
        ("SVNH", {}, "'SVNH' is neither a file or folder nor one of digits, .*; did you mean 'SVHN'"),
        ("", {}, "'' is neither"),
        ("CIFAR10", {"root": "missing", "download": False}, "missing.*CIFAR10 is not there"),
        ("FakeData", {"image_shape": (1, 8, 8), "mean": (0.5,)}, "its images have 3 bands; expected 1"),
        ("digits", {"mean": ()}, r"cannot be shown to this model.*got image_shape=\(3, 8, 8\), mean=\(\)"),
        ("digits", {"image_shape": (3, 8, 9)}, r"expected square images"),
    ],
)
def test_invalid_images_raise(where, like, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {name: like[name] for name in like if name in ("root", "download")}
    loaders = SimpleNamespace(**{**vars(RGB), **{name: like[name] for name in like if name not in options}})
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        open_other_images(where, loaders, 2, num_workers=1, **options)
    assert not list(tmp_path.iterdir())


def test_existing_folder_is_valid_without_opening_it(tmp_path):
    check_other_images(str(tmp_path))
    check_other_images("elsewhere/SVHN")
