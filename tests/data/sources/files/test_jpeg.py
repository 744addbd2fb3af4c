"""Decoding of JPEG. Oracle: Pillow, alone."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from ssl_data import FolderSource
from ssl_data.sources.files import decode as decoding
from ssl_data.sources.files.decode import UNREADABLE, decode, rgb_image
from ssl_data.sources.files.jpeg import SHRINKS, decode_jpeg


def encoded(image, **options):
    file = io.BytesIO()
    image.save(file, "jpeg", **options)
    return file.getvalue()


def with_pillow(file):
    """Return what Pillow alone makes of a file: its pixels, or the text of its error."""
    try:
        with Image.open(io.BytesIO(file)) as opened:
            return rgb_image(opened)
    except UNREADABLE as error:
        return str(error)


def with_ours(file):
    try:
        return decode(io.BytesIO(file))
    except UNREADABLE as error:
        return str(error)


@pytest.fixture(scope="module")
def files(photographs):
    """Return JPEG files of all kinds and odd sizes."""
    kinds = itertools.product((0, 1, 2), (False, True), ("RGB", "L"), ((37, 61), (64, 1), (9, 8)))
    found = []
    for number, (subsampling, progressive, mode, size) in enumerate(kinds):
        image = Image.fromarray(photographs[number]).resize(size).convert(mode)
        options = {"subsampling": subsampling, "progressive": progressive, "restart_marker_rows": number % 2}
        found.append(encoded(image, quality=5 + 2 * number, **options))
    turned = Image.Exif()
    turned[0x0112] = 6
    image = Image.fromarray(photographs[0])
    return [*found, encoded(image, keep_rgb=True), encoded(image, exif=turned), encoded(image.convert("CMYK"))]


def test_pixels_equal_those_of_pillow(files, monkeypatch):
    quickly = []
    monkeypatch.setattr(decoding, "decode_jpeg", lambda *args: quickly.append(args) or decode_jpeg(*args))
    for number, file in enumerate(files):
        assert np.array_equal(with_ours(file), with_pillow(file)), number
    assert len(quickly) == len(files) - 2  # all but those that are turned or in CMYK


def test_damaged_files_are_treated_as_by_pillow(files):
    """Bytes are changed at random, and every third file is cut off: the same pixels, or the same error."""
    rng = np.random.default_rng(0)
    readable = 0
    for number in range(600):
        file = bytearray(files[number % len(files)])
        for place in rng.integers(2, len(file), 3):
            file[place] = rng.integers(0, 256)
        if number % 3 == 0:
            file = file[: rng.integers(1, len(file))]
        ours, theirs = with_ours(bytes(file)), with_pillow(bytes(file))
        if isinstance(theirs, str):
            assert isinstance(ours, str), number
            assert ours.split("<")[0] == theirs.split("<")[0]  # the name of a file object follows
        else:
            readable += 1
            assert np.array_equal(ours, theirs), number
    assert 100 < readable < 500


@pytest.mark.parametrize("shrink", SHRINKS)
def test_scaled_decoding_equals_that_of_pillow(photographs, shrink):
    """Oracle: ``Image.draft``, which chooses the same scaled transforms."""
    file = encoded(Image.fromarray(photographs[3]).resize((75, 50)), quality=90)
    with Image.open(io.BytesIO(file)) as opened:
        opened.draft("RGB", (75 // shrink, 50 // shrink))
        expected = np.asarray(opened)
    assert expected.shape == (-(-50 // shrink), -(-75 // shrink), 3)
    assert np.array_equal(decode_jpeg(np.frombuffer(file, np.uint8), 50, 75, shrink), expected)


def test_files_that_do_not_fit_raise(photographs):
    image = Image.fromarray(photographs[0])
    stored, cmyk = (np.frombuffer(encoded(each), np.uint8) for each in (image, image.convert("CMYK")))
    for file, message in (
        (stored[:0], "it has no bytes"),
        (stored[:-20], "Premature end of JPEG file"),
        (cmyk, "it is a JPEG in CMYK"),
    ):
        with pytest.raises(ValueError, match=message):
            decode_jpeg(file, 32, 32)
    with pytest.raises(ValueError, match="it has 32 x 32 pixels, expected 31 x 32"):
        decode_jpeg(stored, 32, 31)


def test_wrong_scan_parameters_are_accepted_only_if_asked(photographs):
    file = encoded(Image.fromarray(photographs[0]))
    scan = file.index(b"\xff\xda") + 2
    end = scan + int.from_bytes(file[scan : scan + 2], "big")  # of the header of the scan
    wrong = np.frombuffer(file[: end - 2] + bytes([60]) + file[end - 1 :], np.uint8)  # its last frequency, 63
    with pytest.raises(ValueError, match="Invalid SOS parameters"):
        decode_jpeg(wrong, 32, 32)
    whole = decode_jpeg(np.frombuffer(file, np.uint8), 32, 32)
    assert np.array_equal(decode_jpeg(wrong, 32, 32, tolerant=True), whole)


def test_files_are_not_decoded_above_the_limit_of_pixels(tmp_path, photographs, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.jpg").write_bytes(encoded(Image.fromarray(photographs[0])))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    monkeypatch.setattr(decoding, "decode_jpeg", lambda *args: pytest.fail("decoded"))
    with pytest.raises(ValueError, match="decompression bomb"):
        FolderSource(tmp_path).image(0)
