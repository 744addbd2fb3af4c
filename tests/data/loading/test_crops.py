"""The crops of views in the batch. Oracle: torchvision's crop of the stored image, resized and mirrored."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from ssl_data import ArraySource, FolderSource, Loader, ViewSpec, views

CROPS = [ViewSpec(size=size, crop_scale=(0.2, 1.0), crop_ratio=(3 / 4, 4 / 3), flip=0.5) for size in (16, 16, 8)]


@pytest.fixture(scope="module")
def source():
    rng = np.random.default_rng(1)
    return ArraySource(rng.integers(0, 256, (24, 20, 32, 3), dtype=np.uint8), np.arange(24) % 5)


def view_of(image, crop, size):
    """Return the view of a stored image ``(H, W, 3) uint8`` that a crop describes."""
    *box, flip = crop.tolist()
    x = torch.tensor(image).permute(2, 0, 1).float() / 255
    x = tv.resized_crop(x, *map(int, box), size=[size, size], interpolation=InterpolationMode.BILINEAR, antialias=True)
    return tv.horizontal_flip(x) if flip else x


@pytest.mark.parametrize("device", [None, "cpu"])
def test_view_is_the_crop_of_the_original_image(source, device):
    loader = Loader(source, CROPS, 8, num_workers=1, device=device).with_crops()
    images, _, indices, crops = next(iter(loader))
    assert [tuple(each.shape) for each in crops] == [(8, 5)] * 3
    for spec, view, crop in zip(CROPS, images, crops):
        assert set(crop[:, 4].tolist()) == {0.0, 1.0}
        expected = torch.stack([view_of(source.images[i], c, spec.size) for i, c in zip(indices, crop)])
        assert (view - expected).abs().max() < 0.02 / 255


def test_crops_are_equal_on_both_executors_and_change_no_view(source):
    threads, device = (Loader(source, CROPS, 8, num_workers=1, device=device) for device in (None, "cpu"))
    plain = [batch[:3] for batch in threads.start(3)]
    ours, theirs = (list(loader.with_crops().start(3)) for loader in (threads, device))
    for batch, mine, other in zip(plain, ours, theirs, strict=True):
        assert all(map(torch.equal, batch[0], mine[0]))
        assert all(map(torch.equal, mine[3], other[3]))
        assert torch.equal(mine[2], other[2])
    assert len(next(iter(threads))) == 3  # the loader itself is as it was


def test_crops_of_files_are_in_pixels_of_the_file(tmp_path):
    (tmp_path / "a").mkdir()
    pixels = np.random.default_rng(2).integers(0, 256, (4, 40, 60, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / "a" / f"{number}.png")
    loader = Loader(FolderSource(tmp_path), CROPS, 4, shuffle=False, num_workers=1).with_crops()
    images, _, _, crops = next(iter(loader))
    expected = torch.stack([view_of(image, crop, 16) for image, crop in zip(pixels, crops[0])])
    assert (images[0] - expected).abs().max() < 0.02 / 255


def test_rotated_views_have_no_crops(source):
    with pytest.raises(ValueError, match=r"^view 0 is rotated"):
        Loader(source, views("digits", size=16), 8).with_crops()
