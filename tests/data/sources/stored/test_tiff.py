"""TIFF files with the bands and the depth that they have. Oracle: the arrays that tifffile wrote."""

import io
import sys

import numpy as np
import pytest
from PIL import Image, ImageOps

from ssl_data.sources.stored import read_stored

tifffile = pytest.importorskip("tifffile")


def values(dtype, bands, height=24, width=32):
    rng = np.random.default_rng(0)
    shape = (height, width, bands)
    if dtype == "float32":
        return rng.normal(0, 1000, shape).astype(np.float32)
    return rng.integers(0, np.iinfo(dtype).max + 1, shape, dtype)


def written(array, **options):
    """Return the bytes of a TIFF file of ``(H, W)`` or ``(H, W, C)``, with planar bands for ``planarconfig='separate'``."""
    file = io.BytesIO()
    if array.ndim == 3:
        options = {"planarconfig": "contig", **options}
        array = np.moveaxis(array, -1, 0) if options["planarconfig"] == "separate" else array
    tifffile.imwrite(file, array, **{"photometric": "minisblack", **options})
    return file.getvalue()


def read(content):
    return read_stored(io.BytesIO(content))


def assert_same(image, array):
    assert (image.dtype, image.shape) == (array.dtype, array.shape)
    assert image.flags.c_contiguous
    assert np.array_equal(image, array)


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5, 13, 64])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_values_are_exact_for_each_type_and_number_of_bands(dtype, bands, tmp_path):
    array = values(dtype, bands)
    stored = array[..., 0] if bands == 1 else array
    layouts = [{"planarconfig": "contig"}, {"planarconfig": "separate"}] if bands > 1 else [{}]
    for layout in layouts:
        for storage in ({}, {"tile": (16, 16)}, {"byteorder": ">"}, {"bigtiff": True}, {"rowsperstrip": 5}):
            assert_same(read(written(stored, **layout, **storage)), array)
    path = tmp_path / "0.tif"
    path.write_bytes(written(stored, **layouts[-1]))
    assert_same(read_stored(path), array)
    assert_same(read_stored(str(path)), array)


@pytest.mark.parametrize("compression", ["lzw", "deflate", "zstd", "packbits", "lzma"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_compressed_values_are_exact(dtype, compression):
    pytest.importorskip("imagecodecs")
    array = values(dtype, 5)
    for predictor in (False, compression != "packbits"):
        for tile in (None, (16, 16)):
            assert_same(read(written(array, compression=compression, predictor=predictor, tile=tile)), array)


def test_orientation_is_that_of_pillow():
    array = values("uint8", 3)
    for orientation in range(1, 9):
        content = written(array, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
        with Image.open(io.BytesIO(content)) as image:
            expected = np.asarray(ImageOps.exif_transpose(image))
        assert_same(read(content), expected)


def test_pages_are_bands_only_if_they_are_named_channels():
    pages = np.moveaxis(values("uint16", 5), -1, 0)
    channels = {"metadata": {"axes": "CYX"}}
    for options in (channels, {"imagej": True}, channels | {"imagej": True}, channels | {"ome": True}):
        file = io.BytesIO()
        tifffile.imwrite(file, pages, **options)
        assert_same(read(file.getvalue()), np.moveaxis(pages, 0, -1))
    for options in ({}, {"metadata": None}, {"metadata": {"axes": "ZYX"}}):
        file = io.BytesIO()
        tifffile.imwrite(file, pages, photometric="minisblack", **options)
        with pytest.raises(ValueError, match=r"it has 5 pages.*\(5, 24, 32\).*metadata=\{'axes': 'CYX'\}"):
            read(file.getvalue())


def test_smaller_copies_and_masks_are_left_out():
    """As in cloud-optimised GeoTIFF files: overviews, and a mask of missing pixels."""
    array, file = values("uint16", 4), io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(array, photometric="minisblack", planarconfig="contig")
        writer.write(array[::2, ::2], photometric="minisblack", planarconfig="contig", subfiletype=1)
        writer.write(np.ones(array.shape[:2], bool), photometric="mask", subfiletype=4)
    assert_same(read(file.getvalue()), array)


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint32", "int32", "uint64", "float16", "float64", "complex64"])
def test_other_types_raise(dtype):
    with pytest.raises(
        ValueError,
        match=rf"got {dtype} \(8, 8, 2\); use images.astype",
    ):
        read(written(np.ones((8, 8, 2), dtype)))


def test_images_that_would_be_misread_raise():
    with pytest.raises(ValueError, match="indices of a palette"):
        read(written(values("uint8", 1)[..., 0], photometric="palette", colormap=np.zeros((3, 256), np.uint16)))
    with pytest.raises(ValueError, match=r"with 1 to 64 bands, got uint8 \(8, 8, 65\)"):
        read(written(np.zeros((8, 8, 65), np.uint8)))


_DAMAGED = "tifffile cannot read it|it is not an image|it has 0 pages"


@pytest.mark.parametrize(
    "options", [{}, {"rowsperstrip": 4}, {"tile": (16, 16)}, {"compression": "zlib"}, {"planarconfig": "separate"}]
)
def test_damaged_files_raise(options):
    content = written(values("uint16", 5), **options)
    for length in (4, 100, len(content) // 2, len(content) - 40):
        with pytest.raises(ValueError, match=_DAMAGED):
            read(content[:length])
    with pytest.raises(ValueError, match=_DAMAGED):
        read(content[:8] + np.random.default_rng(0).bytes(len(content) - 8))


def test_small_file_that_claims_gigabytes_raises():
    """A header that lies, in front of compressed zeros."""
    file = io.BytesIO(written(np.zeros((16, 16, 4), np.uint16), compression="zlib"))
    with tifffile.TiffFile(file, mode="r+") as opened:
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            opened.pages[0].tags[name].overwrite(20_000)
    with pytest.raises(ValueError, match=r"20000 x 20000 x 4 values of uint16.*decompression bomb"):
        read(file.getvalue())


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(ImportError, match=r"TIFF files need the package tifffile: pip install 'ssl-data\[tiff\]'"):
        read(written(values("uint8", 1)[..., 0]))
