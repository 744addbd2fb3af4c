"""Files of Pillow's formats with the bands and the depth that they have."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from ssl_data.sources.files.decode import decode
from ssl_data.sources.stored import read_stored, stored_image


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def read(content):
    return read_stored(io.BytesIO(content))


def png16(array):
    """Return a PNG of 16 bits by the specification (ISO/IEC 15948): filter 0, one chunk."""
    height, width, bands = array.shape

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[bands], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_png_of_16_bits_is_exact(bands):
    """Oracles: the specification, and the encoder of imagecodecs (libpng)."""
    codecs = pytest.importorskip("imagecodecs")
    array = np.random.default_rng(0).integers(0, 65536, (24, 31, bands), dtype=np.uint16)
    for content in (png16(array), codecs.png_encode(array)):
        image = read(content)
        assert image.dtype == np.uint16
        assert np.array_equal(image, array)


@pytest.mark.parametrize("bands", [1, 3])
def test_damaged_png_of_16_bits_raises(bands):
    """A changed byte ends the process in torchvision's decoder (0.29)."""
    pytest.importorskip("imagecodecs")
    content = png16(np.random.default_rng(0).integers(0, 65536, (24, 31, bands), dtype=np.uint16))
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 255
    for damaged in (content[:30], content[:60], content[: len(content) // 2], bytes(changed)):
        with pytest.raises((OSError, ValueError), match=r"damaged PNG|truncated|broken|not an image"):
            read(damaged)


def test_bands_of_8_bits_are_those_of_pillow():
    rng = np.random.default_rng(0)
    for bands, kinds in ((1, ("png", "bmp", "tga", "ppm")), (2, ("png",)), (3, ("png", "bmp", "webp", "ppm", "qoi"))):
        array = rng.integers(0, 256, (24, 31, bands), dtype=np.uint8)
        picture = Image.fromarray(array[..., 0] if bands == 1 else array)
        for kind in kinds:
            image = read(encoded(picture, kind, **({"lossless": True} if kind == "webp" else {})))
            assert image.dtype == np.uint8
            assert np.array_equal(image, array)
    array = rng.integers(0, 256, (24, 31, 4), dtype=np.uint8)
    assert np.array_equal(read(encoded(Image.fromarray(array), "png")), array)  # transparency is a band
    photograph = encoded(Image.fromarray(array[..., :3]), "jpeg")
    assert np.array_equal(read(photograph), decode(io.BytesIO(photograph)))
    grey = encoded(Image.fromarray(array[..., 0]), "jpeg")
    assert np.array_equal(read(grey)[..., 0], np.asarray(Image.open(io.BytesIO(grey))))


def test_palettes_and_single_bits_become_values():
    array = np.random.default_rng(0).integers(0, 2, (24, 31), dtype=np.uint8) * 255
    one_bit = Image.fromarray(array).convert("1")
    assert np.array_equal(read(encoded(one_bit, "png"))[..., 0], array)
    colours = np.stack([array, 255 - array, array // 3], axis=2)
    palette = Image.fromarray(colours).quantize(4)
    for kind in ("png", "gif"):
        content = encoded(palette, kind)
        assert np.array_equal(read(content), np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))
    assert read(encoded(palette, "png", transparency=0)).shape == (24, 31, 4)


def test_images_are_upright():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 31, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(picture, "png", exif=exif)
    assert np.array_equal(read(content), np.rot90(np.asarray(picture), -1))
    assert np.array_equal(read(content), decode(io.BytesIO(content)))


def test_depth_that_pillow_changes_raises():
    array = np.random.default_rng(0).integers(0, 65536, (24, 31, 3), dtype=np.uint16)
    for content in (b"P6 31 24 65535\n" + array.astype(">u2").tobytes(), b"P5 31 24 4095\n" + array[..., 0].tobytes()):
        with pytest.raises(
            ValueError, match=r"Pillow changes the depth of its [13] bands; store it as TIFF, PNG or .npy"
        ):
            read(content)
    with pytest.raises(ValueError, match="Pillow changes the depth of its 3 bands"):
        stored_image(Image.open(io.BytesIO(png16(array))), lambda image: image)
    with pytest.raises(ValueError, match="Pillow may give fewer bits than a JPEG2000 file has"):
        read(encoded(Image.fromarray((array >> 8).astype(np.uint8)), "jpeg2000"))
    grey = encoded(Image.fromarray(array[..., 0]), "jpeg2000")  # lossless by default
    assert np.array_equal(read(grey)[..., 0], array[..., 0])
    with pytest.raises(ValueError, match="got int32"):
        stored_image(Image.fromarray(array[..., 0].astype(np.int32)), lambda image: image)


def test_other_files_raise(tmp_path, monkeypatch):
    frames = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (0, 100)]
    with pytest.raises(ValueError, match="it has 2 pages or frames"):
        read(encoded(frames[0], "gif", save_all=True, append_images=frames[1:]))
    for content in (b"", b"no image at all", np.random.default_rng(0).bytes(1000)):
        with pytest.raises(ValueError, match=r"it is not an image: neither TIFF nor .npy nor"):
            read(content)
    with pytest.raises(ValueError, match="it is not a regular file"):
        read_stored(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150)
    with (
        pytest.raises(ValueError, match="16 x 16 x 3 values of uint8, 768 bytes, may be a decompression bomb"),
        pytest.warns(Image.DecompressionBombWarning),
    ):
        read(encoded(Image.fromarray(np.zeros((16, 16, 3), np.uint8)), "png"))
