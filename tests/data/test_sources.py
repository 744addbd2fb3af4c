import numpy as np
import pytest
from PIL import Image

from ssl_data import ArraySource, FolderSource, Subset, TorchvisionSource
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


@pytest.mark.parametrize("content", [b"", b"no image at all", None])
def test_a_bad_file_is_named_or_replaced_by_the_next(folder, content):
    bad = folder / "cat" / "2.png"
    bad.write_bytes(bad.read_bytes()[:60] if content is None else content)
    with pytest.raises(ValueError, match=r"sample 2, '.*2.png', cannot be read"):
        FolderSource(folder)
    source = FolderSource(folder, on_error="skip")
    assert np.array_equal(source.image(2), source.image(3))
    assert source.skipped == {2}


def test_skipping_has_a_limit(folder):
    for number in range(3):
        (folder / "cat" / f"{number}.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"more than data\.on_error=skip replaces"):
        FolderSource(folder, on_error="skip")


def test_modes_of_pil_become_rgb(tmp_path):
    """CMYK, palette, 16 bits, one channel, transparency, and a photograph that its EXIF tag turns."""
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
    shapes = [source.image(position).shape for position in range(6)]
    assert shapes == [(8, 12, 3)] * 5 + [(12, 8, 3)]
    sixteen = source.image(2)
    assert sixteen.max() == round(95 * 600 / 257)
    assert np.array_equal(source.image(3)[..., 0], np.asarray(picture.convert("L")))


def test_an_enormous_image_is_refused(tmp_path, monkeypatch):
    save(tmp_path / "a" / "0.png", np.zeros((64, 64, 3), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"0\.png.*decompression bomb"):
        FolderSource(tmp_path)


def test_torchvision_data_is_used_as_it_is():
    """Oracle: torchvision's FakeData, one image at a time."""
    from torchvision.datasets import FakeData

    dataset = FakeData(size=5, image_size=(3, 8, 8), num_classes=3)
    source = TorchvisionSource(dataset)
    assert len(source) == 5
    for position in range(5):
        image, label = dataset[position]
        assert np.array_equal(source.image(position), np.asarray(image))
        assert source.labels[position] == int(label)


def test_arrays_of_torchvision_in_channels_first_are_turned():
    class STL10:
        data = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
        labels = np.array([1, 0])

        def __len__(self):
            return 2

    source = TorchvisionSource(STL10())
    assert source.images.shape == (2, 4, 4, 3)
    assert np.array_equal(source.image(1), STL10.data[1].transpose(1, 2, 0))


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
