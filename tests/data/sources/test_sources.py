import os
import shutil
import socket
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from ssl_data import ArraySource, FolderSource, Relabelled, Subset
from ssl_data.sources.derived.subset import subset_indices
from ssl_data.sources.files.decode import decode
from ssl_data.sources.files.listing import image_extensions
from ssl_data.sources.source import value_range


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


@pytest.mark.parametrize(
    ("images", "value_range", "message"),
    [
        (
            np.zeros((4, 3, 8, 8), np.uint8),
            None,
            r"8 bands of 3 x 8 pixels; for \(M, C, H, W\) use .*transpose\(0, 2, 3, 1\)",
        ),
        (np.zeros((4, 13, 32, 48), np.uint16), None, r"expected \(M, H, W, C\), got \(4, 13, 32, 48\)"),
        (
            np.zeros((4, 8, 8, 65), np.uint8),
            None,
            r"with 1 to 64 bands, got uint8 \(4, 8, 8, 65\); the bands are the last",
        ),
        (np.zeros((4, 8, 0, 3), np.uint8), None, "with 1 to 64 bands, got uint8"),
        (np.zeros((4, 8), np.uint8), None, r"got uint8 \(4, 8\)$"),
        (np.zeros((4, 8, 8, 3)), None, r"got float64 \(4, 8, 8, 3\); use images.astype\('float32'\)$"),
        (np.zeros((4, 8, 8, 3), bool), None, r"got bool .*255 \* images.astype\('uint8'\)"),
        (np.zeros((4, 8, 8, 3), np.int16), None, r"got int16 .*'float32'\) with value_range=\(lowest, highest\)"),
        (np.zeros((4, 8, 8), np.uint16), (4095, 0), r"value_range=\(4095, 0\): expected two numbers"),
        (np.zeros((4, 8, 8), np.uint16), (0, np.inf), r"value_range=\(0, inf\): expected two numbers"),
        (np.zeros((4, 8, 8), np.uint16), 4095, r"value_range=4095: expected two numbers"),
    ],
)
def test_invalid_images_name_the_conversion(images, value_range, message):
    with pytest.raises(ValueError, match=message):
        ArraySource(images, value_range=value_range)


@pytest.mark.parametrize(
    ("kind", "value", "value_range", "message"),
    [
        (
            np.float32,
            300,
            None,
            r"the value 300 .* is outside of value_range=\(0, 1\) \(1 of 832 values are\); set value_range",
        ),
        (np.float32, -0.5, (0, 10), r"the value -0.5 .* is outside of value_range=\(0, 10\)"),
        (np.float32, np.nan, None, "the value nan .* is outside of .*; replace it"),
        (np.float32, np.inf, (-1e30, 1e30), "the value inf .* is outside of .*; replace it"),
        (np.uint16, 4096, (0, 4095), r"the value 4096 .* is outside of value_range=\(0, 4095\)"),
        (np.uint8, 201, (0, 200), r"the value 201 .* is outside of value_range=\(0, 200\)"),
    ],
)
def test_values_outside_of_the_range_name_the_sample(kind, value, value_range, message):
    images = np.zeros((3, 8, 8, 13), kind)
    images[2, 3, 5, 7] = value
    with pytest.raises(ValueError, match=f"^sample 2: {message.replace('.*', 'in row 3, column 5, band 7', 1)}"):
        ArraySource(images, value_range=value_range)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 8, 9, 1), (3, 2, 5, 3), (3, 8, 9, 4), (3, 9, 9, 13), (3, 11, 11, 64)])
def test_bands_and_types_of_arrays_are_kept(kind, shape):
    images = np.random.default_rng(0).random(shape) * (1 if kind == np.float32 else np.iinfo(kind).max)
    source = ArraySource(images.astype(kind))
    assert np.array_equal(source.images.reshape(shape), images.astype(kind))
    assert (source.image(0).dtype, source.image(0).ndim) == (kind, 3)
    assert value_range(source) == value_range(kind)
    for derived in (Subset(ArraySource(images.astype(kind), value_range=(-1, 65535)), np.arange(2)),
                    Relabelled(ArraySource(images.astype(kind), value_range=(-1, 65535)), np.zeros(3, np.int64))):  # fmt: skip
        assert value_range(derived) == (-1, 65535)


def test_other_byte_order_is_converted():
    images = np.arange(4 * 8 * 8, dtype=">u2").reshape(4, 8, 8)
    stored = ArraySource(images).images
    assert stored.dtype.isnative
    assert np.array_equal(stored[..., 0], images)


def test_invalid_labels_of_arrays_raise():
    with pytest.raises(ValueError, match="one for each of the 4 images"):
        ArraySource(np.zeros((4, 8, 8, 3), np.uint8), [1, 2])
    with pytest.raises(ValueError, match=r"labels: sample 1 has the label 1,000,000,000,000, expected below 1,048,576"):
        ArraySource(np.zeros((2, 8, 8, 3), np.uint8), [0, 10**12])


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (np.arange(4) + 0.5, "sample 0 has the label 0.5"),
        ([0, 1, np.nan, 2], "sample 2 has the label nan"),
        (np.array([0, 1, 2, 2**64 - 1], np.uint64), "sample 3 has the label 18446744073709551615"),
        ([0, 1, 2, -5], "sample 3 has the label -5"),
        (["1", "2", "3", "4"], "expected one integer or name a label"),
    ],
)
def test_labels_that_would_change_raise(labels, shown):
    images = np.zeros((4, 8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match=shown):
        ArraySource(images, labels)
    with pytest.raises(ValueError, match=shown):
        Relabelled(ArraySource(images), labels)


def test_conversions_without_loss_are_accepted():
    source = ArraySource(np.zeros((3, 8, 8, 3), np.uint8), [0.0, 1.0, -1.0])
    assert source.labels.dtype == np.int64
    assert source.labels.tolist() == [0, 1, -1]
    assert ArraySource(np.zeros((2, 8, 8, 3), np.uint8), [True, False]).labels.tolist() == [1, 0]
    with pytest.raises(ValueError, match="class_names: expected one for each of 2 classes, got 1"):
        ArraySource(np.zeros((2, 8, 8, 3), np.uint8), [0, 1], ["cat"])
    with pytest.raises(ValueError, match=r"positions must be integers, got bool.*np.flatnonzero"):
        Subset(source, np.array([True, False, True]))


def test_class_folders_are_sorted_and_small_images_are_kept(folder):
    source = FolderSource(folder)
    assert source.class_names == ["cat", "dog"]
    assert source.labels.tolist() == [0] * 4 + [1] * 4
    assert source.images.shape == (8, 16, 16, 3)
    assert np.array_equal(source.image(5), np.asarray(Image.open(folder / "dog" / "1.png")))


def test_folder_without_classes_has_no_labels(folder):
    source = FolderSource(folder / "cat")
    assert source.labels.tolist() == [-1] * 4
    assert source.class_names == []


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^root=.*nowhere.*no such folder"):
        FolderSource(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no class folder and no image"):
        FolderSource(tmp_path / "empty")
    (tmp_path / "cats" / "tabby").mkdir(parents=True)
    with pytest.raises(ValueError, match="class folder 'tabby' holds no image"):
        FolderSource(tmp_path / "cats")


def test_images_next_to_class_folders_and_hidden_names(folder):
    (folder / ".thumbnails").mkdir()
    (folder / "cat" / "._0.png").write_bytes(b"what an Apple leaves on a stick")
    assert len(FolderSource(folder)) == 8
    save(folder / "bird.png", np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(ValueError, match=r"'bird.png' is in no class folder"):
        FolderSource(folder)


def test_only_regular_files_are_images(folder, caplog, tmp_path_factory):
    """Reading a pipe, a socket or a device may never end; a loop of links lists its images forty times."""
    os.mkfifo(folder / "cat" / "pipe.jpg")
    (folder / "cat" / "device.png").symlink_to("/dev/zero")
    short = tmp_path_factory.mktemp("s")  # the name of a socket has at most 107 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(short / "s"))
    (folder / "dog" / "socket.jpg").symlink_to(short / "s")
    (folder / "dog" / "loop").symlink_to(folder)
    (folder / "dog" / "folder.jpg").mkdir()
    (folder / "dog" / "notes.txt").write_text("no image")
    for clutter in ("Thumbs.db", "desktop.ini", "._0.png", ".DS_Store"):
        (folder / "cat" / clutter).write_bytes(b"")
    source = FolderSource(folder)
    assert [Path(path).name for path in source.paths] == ["0.png", "1.png", "2.png", "3.png"] * 2
    (message,) = caplog.messages
    assert "ignored 5 files: 3 x special files, 1 x links to a folder that contains them, 1 x .txt" in message
    with pytest.raises(ValueError, match="it is not a regular file"):
        decode(folder / "cat" / "pipe.jpg")


def test_missing_targets_of_links_are_unreadable_images(folder):
    (folder / "cat" / "3.png").unlink()
    (folder / "cat" / "3.png").symlink_to(folder / "gone.png")
    with pytest.raises(ValueError, match=r"sample 3, '.*cat/3.png', cannot be read"):
        FolderSource(folder)
    (folder / "wolf").symlink_to(folder / "gone")
    with pytest.raises(ValueError, match="'wolf' is a link to something missing"):
        FolderSource(folder)


def test_folders_that_cannot_be_listed_are_named(folder, monkeypatch):
    real = os.scandir

    def scandir(path):
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(ValueError, match=r"^root=.*'.*dog' cannot be listed: Permission denied"):
        FolderSource(folder)


@pytest.mark.parametrize("name", ["a.JPG", "a.jfif", "a.Tga", "a.qoi"])
def test_every_extension_that_pillow_decodes_is_read(folder, name):
    base = Image.fromarray(np.full((16, 16, 3), 200, np.uint8))
    base.save(folder / "cat" / name, format=Image.registered_extensions()[os.path.splitext(name)[1].lower()])
    assert len(FolderSource(folder)) == 9
    assert ".eps" not in image_extensions()  # Pillow starts a program for it


@pytest.mark.parametrize("parts", [("train", "test"), ("Train", "val"), ("train",)])
def test_parts_of_a_data_set_are_not_classes(folder, parts):
    for part in parts:
        shutil.copytree(folder / "cat", folder / "parts" / part / "cat")
    with pytest.raises(ValueError, match=r"expected class folders, found the parts of a data set .*/parts/\w+'"):
        FolderSource(folder / "parts")


def damaged(kind, whole):
    """Return the bytes of a file that no decoder can make an image of."""
    return {"empty": b"", "text": b"no image at all", "truncated": whole[: len(whole) // 2], "header": whole[:60]}[kind]


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "header"])
def test_bad_file_is_named_or_replaced_by_the_next_of_its_class(folder, kind):
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


def test_replacement_does_not_depend_on_the_order_of_reads(folder):
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
    source = FolderSource(folder, on_error="skip", memory=0, skip_limit=0.25, key="data.root")
    for _ in range(3):
        source.image(1)  # is replaced by 3, beyond 2
    assert source.skipped == {1, 2}
    assert [record.message.split(", ")[0] for record in caplog.records] == [
        "data.on_error=skip: sample 1", "data.on_error=skip: sample 2",
    ]  # fmt: skip
    assert "(2 of at most 2)" in caplog.text
    with pytest.raises(ValueError, match=r"3 of 8 samples .* more than data.on_error=skip replaces \(2\).*0.png"):
        source.image(0)


def test_class_that_cannot_be_read_at_all_is_an_error(folder):
    for number in range(4):
        (folder / "cat" / f"{number}.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no sample of the class of 0, '.*0.png', can be read"):
        FolderSource(folder, on_error="skip", skip_limit=1.0)


def test_on_error_must_be_one_of_two(folder):
    with pytest.raises(ValueError, match=r"^on_error='ignore': expected 'raise' or 'skip'"):
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


def test_floating_point_images_raise(tmp_path):
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(tmp_path / "0.tif")
    with pytest.raises(ValueError, match=r"0\.tif', cannot be read: its pixels are floating-point"):
        FolderSource(tmp_path)


def tiff(array, photometric, extra=()):
    """Return an uncompressed TIFF of bands that Pillow does not write, ``(H, W, bands)``."""
    height, width, bands = array.shape
    bits = 8 * array.itemsize
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    values = {256: width, 257: height, 258: (bits,) * bands, 259: 1, 262: photometric, 277: bands, 278: height}
    for tag, value in {**values, 279: array.nbytes, 273: 0, **({338: extra} if extra else {})}.items():
        directory[tag] = value  # 273, the position of the pixels, is counted from the end of the directory
    return b"II*\0" + (8).to_bytes(4, "little") + directory.tobytes(8) + array.tobytes()


_RANDOM = np.random.default_rng(0)
_FOUR = _RANDOM.integers(0, 256, (8, 8, 4), dtype=np.uint8)
_TWELVE = _RANDOM.integers(0, 4096, (8, 8, 3)).astype("<u2")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tiff(_FOUR, 2, (0,)), "it has 4 bands of 8 bits, of which 3 would be read"),
        (tiff(_FOUR, 2, (2,)), r"it has 4 bands of 8 bits, and the fourth \(transparency\) is not constant"),
        (tiff(np.tile(_FOUR, 4)[..., :13], 1, (0,) * 12), "Pillow cannot read a TIFF of 13 bands of 8 bits"),
        (tiff(np.tile(_FOUR, 2)[..., :5], 2, (0, 0)), "it has 5 bands of 8 bits, of which 3 would be read"),
        (tiff(_TWELVE[..., :1], 1), r"1 band of 16 bits with no value above 3,977 of 65,535: 8 bits would keep 16"),
        (tiff(_TWELVE, 2), r"3 bands of 16 bits with no value above 4,095"),
        (tiff(_TWELVE[..., :1].astype("<u4") * 1000, 1), r"integers from [\d,]+ to [\d,]+ \(1 band of 32 bits\)"),
        (_FOUR, "the fourth"),
        ([_FOUR[..., 0]] * 13, "it has 13 pages or frames, of which one would be read"),
    ],
    ids=["rgbx", "rgba", "13", "5", "12 bits", "12-bit rgb", "32 bits", "png", "pages"],
)
def test_images_that_would_lose_information_raise(tmp_path, content, message):
    path = tmp_path / "0.tif"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, list):
        first, *others = map(Image.fromarray, content)
        first.save(path, save_all=True, append_images=others)
    else:
        path = path.with_suffix(".png")
        Image.fromarray(content).save(path)
    with pytest.raises(ValueError, match=rf"sample 0, '.*{path.name}', cannot be read: .*{message}"):
        FolderSource(tmp_path, memory=0).image(0)


def test_frames_of_animations_are_not_dropped(tmp_path):
    frames = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (0, 100, 200)]
    for name in ("a.gif", "a.webp", "a.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        with pytest.raises(ValueError, match="it has 3 pages or frames"):
            decode(tmp_path / name)
    frames[0].save(tmp_path / "one.gif")
    assert decode(tmp_path / "one.gif").shape == (8, 8, 3)


def test_enormous_image_raises(tmp_path, monkeypatch):
    save(tmp_path / "a" / "0.png", np.zeros((40, 40, 3), np.uint8))
    for limit in (1000, 700):  # PIL itself warns at the first and raises at the second
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(ValueError, match=r"0\.png.*decompression bomb"):
                FolderSource(tmp_path)


def test_fraction_is_balanced_seeded_and_keeps_the_ids():
    labels = np.repeat(np.arange(4), 50)
    part = subset_indices(labels, fraction=0.2, imbalance=1.0, seed=0)
    assert np.bincount(labels[part]).tolist() == [10] * 4
    assert np.array_equal(part, subset_indices(labels, 0.2, 1.0, seed=0))
    assert not np.array_equal(part, subset_indices(labels, 0.2, 1.0, seed=1))
    source = Subset(ArraySource(np.zeros((200, 4, 4, 1), np.uint8), labels), part)
    assert np.array_equal(source.ids, part)
    assert len(source) == 40


def test_imbalance_is_an_exponential_tail():
    """Oracle: Cui et al. 2019, n_k = n * r ** (k / (K - 1))."""
    labels = np.repeat(np.arange(5), 100)
    counts = np.bincount(labels[subset_indices(labels, 1.0, 0.01, seed=0)])
    assert counts.tolist() == [round(100 * 0.01 ** (k / 4)) for k in range(5)]
