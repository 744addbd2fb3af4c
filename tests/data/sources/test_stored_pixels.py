"""Sources with ``pixels="stored"``. Oracles: the arrays that numpy and tifffile wrote."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_data import FolderSource, IndexedSource, Relabelled, Subset, TorchvisionSource, write_beton
from ssl_data.sources.fingerprint import fingerprint

tifffile = pytest.importorskip("tifffile")

BANDS = 5


@pytest.fixture(scope="module")
def arrays():
    return np.random.default_rng(0).integers(0, 65536, (8, 16, 18, BANDS), dtype=np.uint16)


@pytest.fixture
def folder(tmp_path, arrays):
    """Return a folder of two classes with 5-band TIFF files of 16 bits, interleaved, planar, tiled and compressed."""
    for name in ("forest", "water"):
        (tmp_path / name).mkdir()
    options = [{"planarconfig": "contig"}, {"planarconfig": "separate"}, {"tile": (16, 16)}, {"compression": "zlib"}]
    for number, array in enumerate(arrays):
        layout = {"photometric": "minisblack", "planarconfig": "contig"} | options[number % 4]
        path = tmp_path / ("forest", "water")[number // 4] / f"{number}.tif"
        tifffile.imwrite(path, np.moveaxis(array, -1, 0) if number % 4 == 1 else array, **layout)
    return tmp_path


def test_bands_and_depth_of_a_folder_are_kept(folder, arrays):
    source = FolderSource(folder, pixels="stored")
    assert source.images.dtype == np.uint16
    assert np.array_equal(source.images, arrays)
    assert source.labels.tolist() == [0] * 4 + [1] * 4
    on_demand = FolderSource(folder, pixels="stored", memory=0)
    assert on_demand.images is None
    assert all(np.array_equal(on_demand.image(position), arrays[position]) for position in range(8))
    on_demand.load_into_memory(arrays.nbytes - 1)
    assert on_demand.images is None
    on_demand.load_into_memory(arrays.nbytes, num_workers=2)
    assert np.array_equal(on_demand.images, arrays)


def test_subsets_labels_and_fingerprints_keep_the_pixels(folder, arrays):
    source = FolderSource(folder, pixels="stored", memory=0, value_range=(0, 70_000))
    part, noisy = Subset(source, np.array([6, 1])), Relabelled(source, source.labels[::-1].copy())
    assert np.array_equal(part.image(0), arrays[6])
    assert np.array_equal(noisy.image(2), arrays[2])
    assert part.value_range == noisy.value_range == (0, 70_000)
    before = fingerprint(source)
    assert before == fingerprint(FolderSource(folder, pixels="stored", value_range=(0, 70_000)))
    tifffile.imwrite(folder / "forest" / "0.tif", arrays[0] + 1, photometric="minisblack", planarconfig="contig")
    assert fingerprint(source) != before


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_arrays_in_files_are_listed_with_stored_pixels_only(tmp_path, dtype, caplog):
    array = np.random.default_rng(0).random((8, 9, 7)).astype(dtype)
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a" / "0.npy", array)
    assert np.array_equal(FolderSource(tmp_path, pixels="stored").images[0], array)
    with pytest.raises(ValueError, match=r"ignored 1 file: 1 x .npy; .npy is read with data.pixels=stored"):
        FolderSource(tmp_path, key="data.root")
    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(tmp_path / "a" / "1.png")
    assert len(FolderSource(tmp_path)) == 1
    assert ".npy is read with pixels=stored" in caplog.text


def test_images_of_one_data_set_share_bands_and_type(folder, arrays):
    """A thumbnail among the images, a photograph, floats."""
    path = folder / "water" / "5.tif"
    others = (arrays[5][..., :3], arrays[5].astype(np.uint8), (arrays[5] / 65535).astype(np.float32))
    for other, found in zip(others, ("3 bands of uint16", "5 bands of uint8", "5 bands of float32")):
        tifffile.imwrite(path, other, photometric="minisblack", planarconfig="contig")
        for source in (FolderSource(folder, pixels="stored", memory=0), None):
            with pytest.raises(
                ValueError,
                match=rf"sample 5, '.*5.tif', .* it has {found}, and sample 0, '.*0.tif', 5 bands of uint16;",
            ):
                source.image(5) if source else FolderSource(folder, pixels="stored")
        source = FolderSource(folder, pixels="stored", on_error="skip")
        assert np.array_equal(source.image(5), arrays[6])
        assert source.skipped == {5}


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def test_damaged_files_are_named_or_replaced(folder, arrays):
    good = (folder / "water" / "5.tif").read_bytes()
    lying = npy(np.zeros((10, 10, 4), np.uint16)).replace(b"(10, 10, 4), }        ", b"(500000, 500000, 4), }")
    contents = {
        "cut.tif": good[: len(good) // 2],
        "random.tif": good[:4] + np.random.default_rng(0).bytes(500),
        "random.npy": np.random.default_rng(0).bytes(500),
        "objects.npy": npy(np.array([{}], object), allow_pickle=True),
        "huge.npy": lying,
        "empty.npy": b"",
    }
    for name, content in contents.items():
        path = folder / "water" / f"9_{name}"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"sample 8, '.*9_{name}', cannot be read: .+; repair or remove it"):
            FolderSource(folder, pixels="stored")
        source = FolderSource(folder, pixels="stored", on_error="skip", memory=0)
        assert np.array_equal(source.image(8), arrays[4])  # the next of its class, in a ring
        assert source.skipped == {8}
        path.unlink()


def test_unreadable_first_image_is_replaced(folder, arrays):
    (folder / "forest" / "0.tif").write_bytes(b"")
    source = FolderSource(folder, pixels="stored", on_error="skip", memory=0)
    assert np.array_equal(source.image(0), arrays[1])
    assert np.array_equal(source.image(7), arrays[7])


def test_values_outside_of_the_range_name_the_file(tmp_path):
    array = np.random.default_rng(0).random((3, 8, 9, 4)).astype(np.float32)
    for number, image in enumerate(array):
        np.save(tmp_path / f"{number}.npy", image * (3000 if number == 2 else 1))
    with pytest.raises(
        ValueError, match=r"sample 2, '.*2.npy', .* is outside of value_range=\(0, 1\).*; set value_range"
    ):
        FolderSource(tmp_path, pixels="stored", value_range=(0, 1))
    source = FolderSource(tmp_path, pixels="stored", value_range=[0, 3000])
    assert source.value_range == (0, 3000)
    assert np.array_equal(source.images[:2], array[:2])
    array[1, 3, 4, 0] = np.nan
    np.save(tmp_path / "1.npy", array[1])
    for value_range in (None, (0, 3000)):
        with pytest.raises(
            ValueError, match=r"sample 1, '.*1.npy', .* 1 of its 288 values are NaN or infinite; replace"
        ):
            FolderSource(tmp_path, pixels="stored", value_range=value_range)


def test_errors_of_rgb8_name_the_way_out(folder, tmp_path):
    with pytest.raises(ValueError, match=r"0.tif', cannot be read: .*, or set data.pixels=stored; repair or remove"):
        FolderSource(folder, key="data.root")
    with pytest.raises(ValueError, match=r"^pixels='rgb': expected 'rgb8' or 'stored'"):
        FolderSource(folder, pixels="rgb")
    for image in (
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8, 5), np.uint16),
        Image.fromarray(np.zeros((8, 8), np.float32)),
        Image.fromarray(np.full((8, 8), 4095, np.uint16)),
    ):
        with pytest.raises(ValueError, match=", or set pixels=stored; repair"):
            IndexedSource([image])
        assert IndexedSource([image], pixels="stored").image(0).shape[:2] == (8, 8)
    with pytest.raises(ValueError, match="without transforms, its views are made here; repair"):
        IndexedSource([np.zeros((8, 8, 3))])  # float64 is not read either way


def test_items_of_data_sets_keep_bands_and_depth():
    """Oracle: numpy's own arrays, as PIL images too."""
    rng = np.random.default_rng(0)
    deep = rng.integers(0, 65536, (6, 16, 18, 13), dtype=np.uint16)
    source = IndexedSource([(image, number % 2) for number, image in enumerate(deep)], pixels="stored")
    assert np.array_equal(source.images, deep)
    assert source.labels.tolist() == [0, 1] * 3
    assert np.array_equal(IndexedSource(list(deep[..., 0]), pixels="stored").images, deep[..., :1])
    floats = rng.random((6, 16, 18, 3)).astype(np.float32)
    assert np.array_equal(IndexedSource(list(floats), pixels="stored", memory=0).image(5), floats[5])
    grey = IndexedSource([Image.fromarray(image[..., 0]) for image in deep], pixels="stored")
    assert np.array_equal(grey.images, deep[..., :1])
    single = IndexedSource([Image.fromarray(image[..., 0]) for image in floats], pixels="stored")
    assert np.array_equal(single.images, floats[..., :1])
    files = [{"image": {"bytes": npy(image), "path": None}} for image in deep]
    assert np.array_equal(IndexedSource(files, pixels="stored").images, deep)


def test_items_whose_axes_or_depth_are_unknown_raise(tmp_path, noise):
    from torchvision.datasets import ImageFolder

    with pytest.raises(ValueError, match=r"got a tensor \(3, 8, 8\); of \(C, H, W\) return tensor.permute"):
        IndexedSource([torch.zeros(3, 8, 8)], pixels="stored")
    with pytest.raises(ValueError, match=r"expected \(H, W, C\), got \(13, 32, 32\)"):
        IndexedSource([np.zeros((13, 32, 32), np.uint16)], pixels="stored")
    with pytest.raises(ValueError, match=r"^channels=3: expected None: with pixels='stored'"):
        IndexedSource([noise[0]], pixels="stored", channels=3)
    with pytest.raises(
        ValueError, match=r"sample 1, dataset\[1\].*it has 1 band of uint8, and sample 0, dataset\[0\], 3 bands"
    ):
        IndexedSource([noise[0], noise[1, ..., 0]], pixels="stored")
    (tmp_path / "a").mkdir()
    Image.fromarray(noise[0]).save(tmp_path / "a" / "0.png")
    with pytest.raises(ValueError, match=r"converts images to 8-bit RGB; with pixels='stored' pass the folder itself"):
        TorchvisionSource(ImageFolder(tmp_path), pixels="stored")


def test_files_of_hugging_face_are_not_decoded_to_8_bits(tmp_path, arrays):
    """Pillow gives 8 bits of a PNG of 3 bands of 16 bits, and cannot read 5 bands. Oracle: the files."""
    datasets = pytest.importorskip("datasets")
    codecs = pytest.importorskip("imagecodecs")
    png = [codecs.png_encode(np.ascontiguousarray(array[..., :3])) for array in arrays]
    tiff = []
    for array in arrays:
        file = io.BytesIO()
        tifffile.imwrite(file, array, photometric="minisblack", planarconfig="contig")
        tiff.append(file.getvalue())
    for contents, bands in ((png, 3), (tiff, BANDS)):
        columns = {"image": [{"bytes": each, "path": None} for each in contents], "label": [0, 1] * 4}
        features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
        dataset = datasets.Dataset.from_dict(columns, features=features)
        source = IndexedSource(dataset, pixels="stored")
        assert np.array_equal(source.images, arrays[..., :bands])
        assert source.labels.tolist() == [0, 1] * 4


def test_images_that_ffcv_cannot_store_raise(folder, tmp_path):
    path = tmp_path / "train.beton"
    with pytest.raises(ValueError, match=r"sample 0 has 5 bands of uint16; .* 8-bit RGB: keep others as .npy or TIFF"):
        write_beton(FolderSource(folder, pixels="stored"), path)
    assert not path.exists()
