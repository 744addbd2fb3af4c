import warnings

import numpy as np
import pytest
from PIL import Image

from ssl_data import ArraySource, FolderSource, Subset
from ssl_data.sources.subset import chosen


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("dog", "cat"):
        for number in range(4):
            save(tmp_path / name / f"{number}.png", rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    return tmp_path


def test_arrays_of_the_wrong_kind_say_how_to_convert():
    with pytest.raises(ValueError, match=r"transpose\(0, 2, 3, 1\)"):
        ArraySource(np.zeros((4, 3, 8, 8), np.uint8))
    with pytest.raises(ValueError, match="uint8"):
        ArraySource(np.zeros((4, 8, 8, 3), np.float32))
    with pytest.raises(ValueError, match="one for each of the 4 images"):
        ArraySource(np.zeros((4, 8, 8, 3), np.uint8), [1, 2])
    with pytest.raises(ValueError, match=r"labels: sample 1 has the label 1,000,000,000,000, expected below 1,048,576"):
        ArraySource(np.zeros((2, 8, 8, 3), np.uint8), [0, 10**12])


def test_class_folders_are_sorted_and_small_images_are_kept(folder):
    source = FolderSource(folder)
    assert source.class_names == ["cat", "dog"]
    assert source.labels.tolist() == [0] * 4 + [1] * 4
    assert source.images.shape == (8, 16, 16, 3)
    assert np.array_equal(source.image(5), np.asarray(Image.open(folder / "dog" / "1.png")))


def test_a_folder_without_classes_has_no_labels(folder):
    source = FolderSource(folder / "cat")
    assert source.labels.tolist() == [-1] * 4
    assert source.class_names == []


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data.root=.*nowhere.*no such folder"):
        FolderSource(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no class folder and no image"):
        FolderSource(tmp_path / "empty")
    (tmp_path / "cats" / "tabby").mkdir(parents=True)
    with pytest.raises(ValueError, match="class folder 'tabby' holds no image"):
        FolderSource(tmp_path / "cats")


def test_images_beside_class_folders_and_hidden_names(folder):
    (folder / ".thumbnails").mkdir()
    (folder / "cat" / "._0.png").write_bytes(b"what an Apple leaves on a stick")
    assert len(FolderSource(folder)) == 8
    save(folder / "bird.png", np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(ValueError, match=r"'bird.png' lies beside the class folders and belongs to none"):
        FolderSource(folder)


def damaged(kind, whole):
    """Return the bytes of a file that no decoder can make an image of."""
    return {"empty": b"", "text": b"no image at all", "truncated": whole[: len(whole) // 2], "header": whole[:60]}[kind]


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "header"])
def test_a_bad_file_is_named_or_replaced_by_the_next_of_its_class(folder, kind):
    bad = folder / "cat" / "3.png"
    bad.write_bytes(damaged(kind, bad.read_bytes()))
    with pytest.raises(ValueError, match=r"sample 3, '.*cat/3.png', cannot be read: .*; repair or remove it"):
        FolderSource(folder)
    source = FolderSource(folder, on_error="skip")
    assert np.array_equal(source.image(3), source.image(0))  # a ring: the last is followed by the first of its class
    assert source.skipped == {3}


@pytest.mark.parametrize("kind", ["empty", "truncated"])
@pytest.mark.parametrize("extension", ["jpg", "png", "bmp", "webp", "gif", "tif", "ppm"])
def test_no_damaged_format_goes_unnoticed(tmp_path, extension, kind, noise):
    path = tmp_path / f"0.{extension}"
    save(path, noise[0])
    path.write_bytes(damaged(kind, path.read_bytes()))
    with pytest.raises(ValueError, match=rf"sample 0, '.*0.{extension}', cannot be read"):
        FolderSource(tmp_path, memory=0).image(0)


def test_what_stands_in_does_not_depend_on_what_was_read_before(folder):
    for number in (1, 2):
        (folder / "cat" / f"{number}.png").write_bytes(b"")
    forwards, backwards = (FolderSource(folder, "skip", memory=0, skip_limit=0.5) for _ in range(2))
    there = [forwards.image(position) for position in range(8)]
    back = [backwards.image(position) for position in reversed(range(8))][::-1]
    assert np.array_equal(np.stack(there), np.stack(back))
    assert np.array_equal(there[1], there[3])


def test_skipping_is_counted_reported_once_and_has_a_limit(folder, caplog):
    for number in range(3):
        (folder / "cat" / f"{number}.png").write_bytes(b"")
    source = FolderSource(folder, on_error="skip", memory=0, skip_limit=0.25)
    for _ in range(3):
        source.image(1)  # is replaced by 3, beyond 2
    assert source.skipped == {1, 2}
    assert [record.message.split(", ")[0] for record in caplog.records] == [
        "data.on_error=skip: sample 1", "data.on_error=skip: sample 2",
    ]  # fmt: skip
    assert "(2 of at most 2)" in caplog.text
    with pytest.raises(ValueError, match=r"3 of 8 samples .* more than data.on_error=skip replaces \(2\).*0.png"):
        source.image(0)


def test_a_class_that_cannot_be_read_at_all_is_an_error(folder):
    for number in range(4):
        (folder / "cat" / f"{number}.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no sample of the class of 0, '.*0.png', can be read"):
        FolderSource(folder, on_error="skip", skip_limit=1.0)


def test_on_error_must_be_one_of_two(folder):
    with pytest.raises(ValueError, match=r"data.on_error='ignore': expected 'raise' or 'skip'"):
        FolderSource(folder, on_error="ignore")


def test_modes_of_pil_become_rgb(tmp_path):
    """CMYK, palette, 16 bits, one channel, transparency, and a photograph that its EXIF tag turns. Oracle: PIL."""
    base = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    picture = Image.fromarray(base)
    (tmp_path / "a").mkdir()
    picture.convert("CMYK").save(tmp_path / "a" / "0.jpg")
    picture.convert("P").save(tmp_path / "a" / "1.png")
    Image.fromarray((np.arange(96).reshape(8, 12) * 600).astype(np.uint16)).save(tmp_path / "a" / "2.png")
    picture.convert("L").save(tmp_path / "a" / "3.png")
    picture.convert("RGBA").save(tmp_path / "a" / "4.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    picture.save(tmp_path / "a" / "5.png", exif=exif)
    source = FolderSource(tmp_path)
    images = [source.image(position) for position in range(6)]
    assert [image.shape for image in images] == [(8, 12, 3)] * 5 + [(12, 8, 3)]
    for position, name in enumerate(["0.jpg", "1.png"]):
        assert np.array_equal(images[position], np.asarray(Image.open(tmp_path / "a" / name).convert("RGB")))
    sixteen = np.round(np.arange(96).reshape(8, 12) * 600 / 257).astype(np.uint8)
    assert np.array_equal(images[2], np.repeat(sixteen[..., None], 3, axis=2))
    assert np.array_equal(images[3][..., 0], np.asarray(picture.convert("L")))
    assert np.array_equal(images[4], base)
    assert np.array_equal(images[5], np.rot90(base, -1))


def test_floating_point_images_are_refused(tmp_path):
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(tmp_path / "0.tif")
    with pytest.raises(ValueError, match=r"0\.tif', cannot be read: its pixels are floating-point"):
        FolderSource(tmp_path)


def test_an_enormous_image_is_refused(tmp_path, monkeypatch):
    save(tmp_path / "a" / "0.png", np.zeros((40, 40, 3), np.uint8))
    for limit in (1000, 700):  # PIL itself warns at the first and raises at the second
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(ValueError, match=r"0\.png.*decompression bomb"):
                FolderSource(tmp_path)


def test_a_fraction_is_balanced_seeded_and_keeps_the_ids():
    labels = np.repeat(np.arange(4), 50)
    part = chosen(labels, fraction=0.2, imbalance=1.0, seed=0)
    assert np.bincount(labels[part]).tolist() == [10] * 4
    assert np.array_equal(part, chosen(labels, 0.2, 1.0, seed=0))
    assert not np.array_equal(part, chosen(labels, 0.2, 1.0, seed=1))
    source = Subset(ArraySource(np.zeros((200, 4, 4, 1), np.uint8), labels), part)
    assert np.array_equal(source.ids, part)
    assert len(source) == 40


def test_an_imbalance_is_an_exponential_tail():
    """Oracle: Cui et al. 2019, n_k = n * r ** (k / (K - 1))."""
    labels = np.repeat(np.arange(5), 100)
    counts = np.bincount(labels[chosen(labels, 1.0, 0.01, seed=0)])
    assert counts.tolist() == [round(100 * 0.01 ** (k / 4)) for k in range(5)]
