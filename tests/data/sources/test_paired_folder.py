"""Folders of images with masks or depth maps."""

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_data import PairedFolder

RGB = {"size": (8, 8), "channels": 3, "batch_size": 3, "mean": (0.0,), "std": (1.0,)}


def write(path, array, palette=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
        return
    image = Image.fromarray(array)
    if palette:
        image = Image.fromarray(array, "L")
        image.putpalette([number for k in range(256) for number in (k, 255 - k, 0)])
    image.save(path)


def image_and_mask(number, size=(16, 24)):
    """A coloured rectangle of class ``number % 3 + 1`` on a grey ground, with a border of 255."""
    image, mask = np.full((*size, 3), 90, np.uint8), np.zeros(size, np.uint8)
    image[4:12, 6:18], mask[4:12, 6:18] = np.eye(3, dtype=np.uint8)[number % 3] * 255, number % 3 + 1
    mask[3, 6:18] = 255
    return image, mask


def fill(root, images, masks, numbers, suffix=".png", palette=False):
    for number in numbers:
        image, mask = image_and_mask(number)
        write(root / images / f"{number:03}.jpg", image)
        write(root / masks / f"{number:03}{suffix}", mask, palette)


def everything(folder, part, **changed):
    batches = list(folder.batches(part, **{**RGB, **changed}))
    return torch.cat([images for images, _ in batches]), torch.cat([maps for _, maps in batches])


def test_plain_folders_are_split_by_the_seed(tmp_path):
    fill(tmp_path, "images", "masks", range(10))
    folder = PairedFolder(tmp_path)
    assert (folder.num_images("train"), folder.num_images("test"), folder.drawn) == (8, 2, True)
    other = PairedFolder(tmp_path, seed=1).pairs
    assert sorted(folder.pairs["train"] + folder.pairs["test"]) == sorted(other["train"] + other["test"])
    assert folder.pairs == PairedFolder(tmp_path).pairs != other
    assert len(PairedFolder(tmp_path, train_images=3).pairs["train"]) == 3
    images, masks = everything(folder, "train")
    assert (images.shape, masks.shape, masks.dtype) == ((8, 3, 8, 8), (8, 8, 8), torch.int16)
    assert set(masks.unique().tolist()) <= {0, 1, 2, 3, 255}


def test_class_0_counts_outside_of_the_layout_of_ade20k(tmp_path):
    for part in ("train", "val"):
        fill(tmp_path, f"images/{part}", f"annotations/{part}", range(3))
    folder = PairedFolder(tmp_path)
    assert not folder.reduce_zero_label
    assert 0 in everything(folder, "train")[1]


def test_mask_is_resized_as_torchvisions_nearest_exact(tmp_path):
    """Oracle: F.interpolate with mode="nearest-exact"; and PIL's bicubic for the image."""
    fill(tmp_path, "images", "masks", range(10))
    folder = PairedFolder(tmp_path)
    for size in ((8, 8), (7, 31)):
        images, masks = everything(folder, "test", size=size, mean=(0.5, 0.4, 0.3), std=(0.2, 0.1, 0.3))
        for (image, mask), pair in zip(zip(images, masks), folder.pairs["test"]):
            whole = torch.from_numpy(np.array(Image.open(pair[1]))).float()
            expected = torch.nn.functional.interpolate(whole[None, None], size, mode="nearest-exact")[0, 0]
            assert torch.equal(mask.float(), expected)
            pixels = np.array(Image.open(pair[0]).resize(size[::-1], Image.Resampling.BICUBIC), np.float32) / 255
            expected = (pixels - np.array((0.5, 0.4, 0.3))) / np.array((0.2, 0.1, 0.3))
            np.testing.assert_allclose(image.permute(1, 2, 0).numpy(), expected, atol=1e-5)


def test_voc_has_the_parts_of_its_lists_and_palettes(tmp_path):
    fill(tmp_path, "JPEGImages", "SegmentationClass", range(6), palette=True)
    write(tmp_path / "JPEGImages" / "detection.jpg", image_and_mask(0)[0])  # most images of VOC have no mask
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("004\n000\n001\n")
    (lists / "val.txt").write_text("002\n")
    folder = PairedFolder(tmp_path)
    assert [pair[0][-7:] for pair in folder.pairs["train"]] == ["004.jpg", "000.jpg", "001.jpg"]
    assert folder.num_images("test") == 1
    assert not folder.reduce_zero_label
    masks = everything(folder, "test")[1]
    assert masks.unique().tolist() == [0, 3, 255]
    (lists / "val.txt").write_text("002\n009\n")
    with pytest.raises(FileNotFoundError, match="JPEGImages' has no file '009'"):
        PairedFolder(tmp_path)


def test_ade20k_ignores_class_zero(tmp_path):
    for part, numbers in (("training", range(4)), ("validation", range(4, 6))):
        fill(tmp_path, f"images/{part}", f"annotations/{part}", numbers)
    folder = PairedFolder(tmp_path)
    assert (folder.num_images("train"), folder.num_images("test"), folder.drawn) == (4, 2, False)
    assert folder.reduce_zero_label
    masks = everything(folder, "train")[1]
    assert masks.unique().tolist() == [0, 1, 2, 255]
    kept = everything(PairedFolder(tmp_path, reduce_zero_label=False), "train")[1]
    assert kept.unique().tolist() == [0, 1, 2, 3, 255]
    assert torch.equal(masks, torch.where((kept == 0) | (kept == 255), 255, kept - 1))  # mmseg's LoadAnnotations
    assert folder.facts()["reduce_zero_label"] is True


def test_depth_of_png_and_of_arrays_is_in_units(tmp_path):
    depth = np.linspace(500, 9000, 16 * 24).reshape(16, 24).astype(np.uint16)
    depth[0] = 0
    for number in range(5):
        write(tmp_path / "images" / f"{number}.png", image_and_mask(number)[0])
        if number % 2:
            write(tmp_path / "depth" / f"{number}.png", depth)
        else:
            metres = depth / np.float32(1000)
            metres[0] = np.nan
            write(tmp_path / "depth" / f"{number}.npy", metres)
    folder = PairedFolder(tmp_path, targets="depth")
    maps = everything(folder, "train", size=(16, 24))[1]
    assert maps.dtype == torch.float32
    for each in maps:
        np.testing.assert_allclose(each.numpy(), depth / 1000, rtol=1e-6)


def test_grey_images_have_one_channel(tmp_path):
    fill(tmp_path, "images", "masks", range(5))
    images = everything(PairedFolder(tmp_path), "train", channels=1)[0]
    assert images.shape == (4, 1, 8, 8)
    with pytest.raises(ValueError, match="channels=4: expected 3 or 1"):
        everything(PairedFolder(tmp_path), "train", channels=4)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda root: (root / "masks/003.png").unlink(), r"1 files of '.*images' have none .* in '.*masks', such as '003'"),
        (lambda root: (root / "images/003.jpg").unlink(), r"1 files of '.*masks' have none .* in '.*images'"),
        (lambda root: write(root / "masks/003.bmp", np.zeros((16, 24), np.uint8)), "have the same name"),
        (lambda root: (root / "masks").rename(root / "other"), "expected the folders 'images' and 'masks' or"),
        (lambda root: (root / "images/train").mkdir(), "has the part 'train' only; expected 'validation'"),
    ],
)  # fmt: skip
def test_incomplete_pairs_are_one_line(tmp_path, break_it, message):
    fill(tmp_path, "images", "masks", range(5))
    break_it(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        PairedFolder(tmp_path, key="eval.dense.root")
    assert str(caught.value).startswith("eval.dense.root=")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.zeros((16, 24, 3), np.uint8),
            "expected one band whose values are classes, or a palette, got an image of mode RGB",
        ),
        (np.zeros((24, 16), np.uint8), r"it has \(24, 16\) pixels, its image '.*003.jpg' has \(16, 24\)"),
        (np.full((16, 24), 40_000, np.uint16), "expected classes from 0 to 32,767, got 40,000"),
    ],
)
def test_wrong_mask_is_named(tmp_path, array, message):
    fill(tmp_path, "images", "masks", range(5))
    write(tmp_path / "masks/003.png", array)
    folder = PairedFolder(tmp_path)
    with pytest.raises(ValueError, match=f"003.png' cannot be read: {message}"):
        everything(folder, "train"), everything(folder, "test")


def test_invalid_arguments_are_one_line(tmp_path):
    fill(tmp_path, "images", "masks", range(5))
    for options, message in (
        ({"targets": "boxes"}, "targets='boxes': expected 'masks' or 'depth'"),
        ({"depth_scale": 0}, "depth_scale=0: expected above 0"),
        ({"test_fraction": 0.01}, "test_fraction=0.01: expected a share that leaves both parts an image"),
    ):
        with pytest.raises(ValueError, match=message):
            PairedFolder(tmp_path, **options)
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        PairedFolder(tmp_path / "nothing")
