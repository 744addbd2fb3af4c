"""Images of a list of files, against PIL's crop and thumbnail, which the authors of revisited Oxford use."""

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_data import ListedImages

RGB = {"size": 24, "multiple": 1, "channels": 3, "batch_size": 2, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}
SIZES = [(48, 32), (32, 48), (48, 32), (20, 10), (48, 32)]  # width, height
BOXES = [(8.2, 4.0, 39.6, 20.4), (0, 0, 32, 48), (10, 10, 20, 30), (2, 2, 12, 8), (40, 20, 60, 40)]


@pytest.fixture
def names(tmp_path):
    rng = np.random.default_rng(0)
    for number, (width, height) in enumerate(SIZES):
        pixels = rng.integers(0, 256, (height // 2, width // 2, 3)).astype(np.uint8)
        Image.fromarray(pixels).resize((width, height)).save(tmp_path / f"{number}.png")
    return [f"{number}.png" for number in range(len(SIZES))]


def by_pillow(path, box, mode="RGB", **options):
    image = Image.open(path).convert("RGB").convert(mode)
    if box is not None:
        image = image.crop(box)
    image.thumbnail((options["size"],) * 2, Image.Resampling.LANCZOS, reducing_gap=None)
    channels = options["channels"]
    pixels = np.asarray(image, np.float64).reshape(image.height, image.width, channels).transpose(2, 0, 1) / 255
    shift, scale = (np.asarray(options[name])[:channels, None, None] for name in ("mean", "std"))
    return (pixels - shift) / scale


def every_image(images, **options):
    found = {}
    for places, batch in images.batches(**options):
        assert 1 <= len(places) == len(batch) <= options["batch_size"]
        found |= dict(zip(places.tolist(), batch, strict=True))
    return [found[place] for place in range(len(images))]


@pytest.mark.parametrize("boxes", [None, BOXES])
def test_images_equal_pillows_crop_and_thumbnail(tmp_path, names, boxes):
    """Smaller images keep their size; a box beyond the image is black there."""
    images = ListedImages(tmp_path, names, boxes, num_workers=1)
    for number, found in enumerate(every_image(images, **RGB)):
        expected = by_pillow(tmp_path / names[number], boxes and boxes[number], **RGB)
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    [last] = [found for number, found in enumerate(every_image(images, **RGB)) if number == 4 and boxes] or [None]
    assert last is None or last.shape == (3, 20, 20)


def test_sides_are_multiples_of_the_patch_size(tmp_path, names):
    images = ListedImages(tmp_path, names, num_workers=1)
    shapes = [tuple(found.shape[1:]) for found in every_image(images, **{**RGB, "multiple": 7})]
    assert shapes == [(14, 21), (21, 14), (14, 21), (7, 21), (14, 21)]


def test_grey_images_are_those_of_pillow(tmp_path, names):
    options = RGB | {"channels": 1, "mean": (0.5,), "std": (0.25,)}
    found = every_image(ListedImages(tmp_path, names, BOXES, num_workers=1), **options)
    np.testing.assert_allclose(found[0].numpy(), by_pillow(tmp_path / names[0], BOXES[0], "L", **options), atol=1e-6)


def test_turned_photograph_is_upright(tmp_path):
    """By its EXIF orientation, 6: the stored rows are columns."""
    image = Image.fromarray(np.arange(48 * 32 * 3, dtype=np.uint8).reshape(32, 48, 3))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    [found] = every_image(ListedImages(tmp_path, ["turned.jpg"], num_workers=1), **RGB)
    assert found.shape == (3, 24, 16)


def test_fingerprint_depends_on_the_files(tmp_path, names):
    before = ListedImages(tmp_path, names, num_workers=1).fingerprint()
    assert before == ListedImages(tmp_path, names, BOXES, num_workers=1).fingerprint()
    Image.new("RGB", (48, 32)).save(tmp_path / names[0])
    assert before != ListedImages(tmp_path, names, num_workers=1).fingerprint()


@pytest.mark.parametrize(
    ("name", "boxes", "changed", "message"),
    [
        ("0.png", [(50, 0, 60, 10)], {}, r"the box \(50, 0, 60, 10\) has no pixel of '.*0.png', which has 48 x 32"),
        ("0.png", [(5, 5, 5.2, 9)], {}, "has no pixel of"),
        ("none.png", None, {}, "none.png' cannot be read"),
        ("text.png", None, {}, "text.png' cannot be read"),
        ("cut.png", None, {}, "cut.png' cannot be read"),
        ("0.png", [], {}, "boxes=0: expected one for each of 1 images"),
        ("0.png", None, {"channels": 2}, "channels=2: expected 3 or 1"),
    ],
)
def test_invalid_image_is_named(tmp_path, names, name, boxes, changed, message):
    (tmp_path / "text.png").write_text("no image")
    whole = (tmp_path / "0.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=message):
        list(ListedImages(tmp_path, [name], boxes, num_workers=1).batches(**{**RGB, **changed}))
