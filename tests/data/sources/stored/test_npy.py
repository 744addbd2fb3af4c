"""Arrays in ``.npy`` files. Oracle: numpy, which wrote them."""

import io

import numpy as np
import pytest
from PIL import Image

from ssl_data.sources.stored import read_stored


def saved(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1), (20, 30, 5), (8, 8, 13), (64, 64, 64)])
@pytest.mark.parametrize("dtype", ["uint8", "<u2", ">u2", "<f4", ">f4"])
def test_values_are_exact(tmp_path, dtype, shape):
    array = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    expected = array[..., None] if array.ndim == 2 else array
    (tmp_path / "0.npy").write_bytes(saved(array))
    for file in (tmp_path / "0.npy", io.BytesIO(saved(array)), io.BytesIO(saved(np.asfortranarray(array)))):
        image = read_stored(file)
        assert image.dtype == np.dtype(dtype).newbyteorder("=")
        assert image.flags.c_contiguous
        assert type(image) is np.ndarray  # no map of the file, which would stay open
        assert np.array_equal(image, expected)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 32, 32), np.uint8), r"expected \(H, W, C\), got \(3, 32, 32\): 32 bands of 3 x 32 .*moveaxis"),
        (np.zeros((13, 40, 40), np.uint8), r"got \(13, 40, 40\): 40 bands of 13 x 40 pixels"),
        (np.zeros((80, 80, 65), np.uint8), r"with 1 to 64 bands, got uint8 \(80, 80, 65\)"),
        (np.zeros(8, np.uint8), r"got uint8 \(8,\)"),
        (np.zeros((2, 8, 8, 3), np.uint8), r"got uint8 \(2, 8, 8, 3\)"),
        (np.zeros((8, 0), np.uint8), "numpy cannot load it|got uint8"),
        (np.zeros((8, 8), np.float64), r"expected .*uint8, uint16 or float32.*got float64 .*astype\('float32'\)"),
        (np.zeros((8, 8), np.int16), "got int16"),
        (np.zeros((8, 8), bool), "got bool"),
        (np.array([["a", None]], object), "without pickled objects"),
    ],
)
def test_other_arrays_raise(tmp_path, array, message):
    content = saved(array, allow_pickle=True)
    (tmp_path / "0.npy").write_bytes(content)
    for file in (tmp_path / "0.npy", io.BytesIO(content)):
        with pytest.raises(ValueError, match=message):
            read_stored(file)


def test_wrong_header_raises_before_reading(tmp_path):
    """The shape of a terabyte, in front of 400 bytes."""
    header = saved(np.zeros((10, 10, 4), np.uint8)).replace(b"(10, 10, 4), }   ", b"(9**9, 9**9, 4)}  ")
    honest = saved(np.zeros((10, 10, 4), np.uint8)).replace(b"(10, 10, 4), }        ", b"(500000, 500000, 4), }")
    for content in (header, honest):
        (tmp_path / "0.npy").write_bytes(content)
        with pytest.raises(ValueError, match="numpy cannot load it"):
            read_stored(tmp_path / "0.npy")


def test_damaged_files_raise(tmp_path):
    content = saved(np.ones((30, 40, 3), np.float32))
    for part in (content[:4], content[:60], content[: len(content) // 2], content[:-1], content[:20] + b"\xff" * 2000):
        (tmp_path / "0.npy").write_bytes(part)
        for file in (tmp_path / "0.npy", io.BytesIO(part)):
            with pytest.raises(ValueError, match=r"numpy cannot load it|it is not an image"):
                read_stored(file)


def test_large_arrays_raise(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    np.save(tmp_path / "0.npy", np.zeros((20, 20, 5), np.uint16))
    read_stored(tmp_path / "0.npy")  # 4,000 bytes, four for each of 1,000 pixels
    np.save(tmp_path / "0.npy", np.zeros((20, 20, 6), np.uint16))
    with pytest.raises(ValueError, match=r"20 x 20 x 6 values of uint16, 4,800 bytes, may be a decompression bomb"):
        read_stored(tmp_path / "0.npy")
