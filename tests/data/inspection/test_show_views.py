"""The picture of views. Oracles: the loader's own batch, the stored pixels, and matplotlib's boxes of what is drawn."""

import itertools
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from ssl_data import ArraySource, DataConfig, Loader, ViewSpec, show_views
from ssl_data.augment.operations import RandomErasing, VerticalFlip
from ssl_data.errors import ArgumentError
from ssl_data.inspection.panels import to_panel

pytest.importorskip("matplotlib")
M = 12
NAMES = ["a cat that has a rather long name", "dog $x$"]
PIPELINE = v2.Compose([v2.ToImage(), v2.RandomCrop(8), v2.ToDtype(torch.float32, scale=True)])


def images(channels=3, size=10):
    shape = (M, size, size, channels) if channels > 1 else (M, size, size)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def labels():
    return np.arange(M) % 2


def noisy(sample, generator):
    return sample + torch.randn(sample.shape, generator=generator)


def pair(sample, generator):
    return [noisy(sample, generator), sample]


def mixed(batch, generator):
    views, *rest = batch
    return [view.flip(0) for view in views], *rest


def texts(sheet):
    return [text.get_text() for text in sheet.figure.texts]


def drawn(sheet):
    """Return the arrays of the images, row by row."""
    return [np.asarray(axes.images[0].get_array()) for axes in sheet.figure.axes if axes.images]


def assert_nothing_overlaps(sheet):
    """Compare the boxes of all panels and texts in pairs, and with the edges of the figure."""
    renderer = sheet.figure._get_renderer()
    boxes = [each.get_window_extent(renderer) for each in (*sheet.figure.axes, *sheet.figure.texts)]
    boxes = [box for box in boxes if box.width and box.height]
    whole = sheet.figure.bbox
    for box in boxes:
        assert whole.x0 <= box.x0
        assert box.x1 <= whole.x1
        assert whole.y0 <= box.y0
        assert box.y1 <= whole.y1
    for one, other in itertools.combinations(boxes, 2):
        assert not (one.x0 < other.x1 and other.x0 < one.x1 and one.y0 < other.y1 and other.y0 < one.y1), (one, other)


def test_pixels_of_engine_views_are_those_of_the_loader():
    specs = [ViewSpec(size=10), ViewSpec(size=8, crop_scale=(0.3, 0.9), flip=0.5, jitter=1.0, brightness=0.4)]
    loader = Loader(ArraySource(images(), labels(), NAMES), specs, 4, seed=3)
    sheet = show_views(loader, rows=4)
    views, _, ids = next(iter(loader))
    shown = drawn(sheet)
    for row, index in enumerate(ids.tolist()):
        stored, first, second = shown[3 * row : 3 * row + 3]
        assert np.allclose(stored, images()[index] / 255)
        assert np.allclose(first, images()[index] / 255, atol=1e-6)  # the whole image, as it is
        assert np.allclose(second, views[1][row].permute(1, 2, 0), atol=1e-6)
    found = texts(sheet)
    assert {"view 0 (10 px)", "view 1 (8 px)", "stored"} <= set(found)
    for index in ids.tolist():
        heading = next(text for text in found if text.startswith(f"sample {index}\n"))
        assert heading.replace("\n", " ") == f"sample {index} {NAMES[index % 2]}"
    assert_nothing_overlaps(sheet)
    assert loader.state_dict()["step"] == 1  # of the batch above only


def test_parameters_below_a_view_are_those_of_the_loader():
    operations = (VerticalFlip(1.0), RandomErasing(1.0))
    spec = ViewSpec(size=10, crop_scale=(0.3, 0.9), rotation=20, zoom=(0.5, 0.9), jitter=1, hue=0.2, noise=0.1, blur=1,
                    operations=operations)  # fmt: skip
    source = ArraySource(images(), labels())
    *_, [p] = next(iter(Loader(source, [spec], 3, seed=1, return_parameters=True)))
    lines = [text.split("\n") for text in texts(show_views(Loader(source, [spec], 3, seed=1)))]
    for row in range(3):
        n = {name: column[row].item() for name, column in p.items()}
        expected = [
            f"crop {n['width']:.0f} x {n['height']:.0f} at {n['left']:.0f}, {n['top']:.0f}",
            f"angle {n['angle']:+.1f}°", f"zoom {n['zoom']:.2f}", f"hue {n['hue']:.2f}", f"blur {n['sigma']:.2f}",
            "noise 0.10", f"erase {n['erase_width']} x {n['erase_height']} at {n['erase_left']}, {n['erase_top']}",
            "vertical flip",
        ]  # fmt: skip
        assert any(set(expected) <= set(each) for each in lines), expected


@pytest.mark.parametrize(
    "views", ["simclr", "dino", "mae", [{"preset": "byol", "solarize": 1.0}]], ids=["simclr", "dino", "mae", "own"]
)
def test_presets_are_readable(views):
    sheet = show_views(DataConfig.of((images(), labels()), views=views, class_names=NAMES), rows=2)
    count = len(DataConfig(views=views).view_sizes())
    assert len(sheet.figure.axes) == 2 * (1 + count)
    assert [text.partition(" (")[0] for text in texts(sheet) if text.startswith("view")] == [
        f"view {number}" for number in range(count)
    ]
    assert_nothing_overlaps(sheet)
    assert min(text.get_fontsize() for text in sheet.figure.texts) >= 7


SHAPES = {
    "spectrogram": ((1, 40, 100), "image", (40, 100)),
    "matrix": ((20, 30), "image", (20, 30)),
    "photograph": ((3, 16, 16), "image", (16, 16, 3)),
    "13 bands": ((13, 16, 16), "image", (16, 16, 3)),
    "volume": ((1, 9, 16, 16), "image", (16, 16)),
    "video": ((5, 3, 16, 16), "image", (16, 16, 3)),
    "waveform": ((2, 400), "lines", 2),
    "signal": ((1, 400), "lines", 1),
    "table": ((10,), "bars", 10),
    "wide table": ((100,), "lines", 1),
}


@pytest.mark.parametrize("name", SHAPES)
def test_function_views_of_any_shape(name):
    shape, kind, expected = SHAPES[name]
    data = torch.randn(M, *shape)
    config = DataConfig.of((data, labels()), views=[noisy, pair], num_workers=0, class_names=NAMES)
    sheet = show_views(config, rows=3)
    axes = sheet.figure.axes
    assert len(axes) == 3 * 4  # stored, and three views
    if kind == "image":
        assert {each.shape for each in drawn(sheet)} == {expected}
    else:
        found = [len(each.patches) if kind == "bars" else len(each.lines) - 1 for each in axes]  # one line is at 0
        assert found == [expected] * 12
    assert_nothing_overlaps(sheet)
    assert any(f"{shape}".replace(" ", "") in text.replace("\n", "").replace(" ", "") for text in texts(sheet))


def test_function_views_are_those_of_the_loader():
    x = torch.rand(M, 1, 8, 8)
    config = DataConfig.of((x, labels()), views=[noisy], num_workers=0)
    [view], _, ids = next(iter(config.open(4, 5).train))
    shown = drawn(show_views(config, rows=4, seed=5))
    low, high = np.percentile(view.numpy(), (1, 99))
    for row, index in enumerate(ids.tolist()):
        assert np.allclose(shown[2 * row], x[index, 0], atol=1e-6)
        assert np.allclose(shown[2 * row + 1], ((view[row, 0] - low) / (high - low)).clip(0, 1), atol=1e-5)


def test_pipelines_and_random_data_sets():
    class Random(torch.utils.data.Dataset):
        def __len__(self):
            return M

        def __getitem__(self, index):
            return torch.rand(1, 8, 8), index % 2

    config = DataConfig.of([(Image.fromarray(image), 0) for image in images()], views=[PIPELINE], eval_view=PIPELINE)
    assert "view 0\nToImage, RandomCrop,\nToDtype\n(3, 8, 8)" in texts(show_views(config, rows=2))
    as_it_is = DataConfig.of(Random(), views=[v2.Identity()], num_workers=0)
    stored, view = drawn(show_views(as_it_is, rows=1))
    assert np.allclose(stored, view)  # the same random sample, drawn by the same seed


def test_chosen_bands_are_drawn_and_named():
    x = torch.rand(M, 13, 8, 8)
    config = DataConfig.of((x, labels()), views=[v2.Identity()], num_workers=0)
    sheet = show_views(config, rows=1, bands=[3, 2, 1])
    [text] = [text for text in texts(sheet) if text.startswith("sample")]
    index = int(text.split()[1])
    assert np.allclose(drawn(sheet)[1], x[index, [3, 2, 1]].permute(1, 2, 0), atol=1e-6)
    assert any("bands 3, 2, 1 of 13" in text.replace("\n", " ") for text in texts(sheet))
    assert any("bands 0, 1, 2 of 13" in text.replace("\n", " ") for text in texts(show_views(config, rows=1)))
    for bands in ([3, 13, 1], [1, 2], [-1]):
        with pytest.raises(ArgumentError, match="expected one or three numbers from 0 to 12: an image has 13 bands"):
            show_views(config, bands=bands)


def test_batch_transform_has_separate_columns():
    config = DataConfig.of((images(), labels()), views=[{"size": 10}], batch_transform=mixed)
    shown = drawn(show_views(config, rows=2))
    assert np.allclose(shown[1], shown[5], atol=1e-6)  # view of the first sample, changed view of the second
    assert np.allclose(shown[2], shown[4], atol=1e-6)
    assert any("after mixed" in text for text in texts(show_views(config, rows=2)))


def test_subset_small_data_and_unlabelled_samples():
    loader = Loader(ArraySource(images()), [ViewSpec(size=10)], 2, seed=1).subset([3, 5, 8])
    found = [text for text in texts(show_views(loader)) if text.startswith("sample")]
    assert sorted(found) == ["sample 3\nno label", "sample 5\nno label", "sample 8\nno label"]
    few = DataConfig.of((images()[:2], labels()[:2]))
    assert len([text for text in texts(show_views(few)) if text.startswith("sample")]) == 2


def test_loaders_of_a_user():
    class Own:
        def open(self, batch_size, seed, rank, world_size):
            self.train = [(torch.zeros(batch_size, 1, 8, 8), torch.zeros(batch_size), torch.arange(batch_size))]
            return self

    own = Own()
    assert {"sample 1\nclass 0", "view 0\n(1, 8, 8)"} <= set(texts(show_views(own, rows=2)))
    own.open(2, 0, 0, 1)

    class Stream(list):  # without a source
        views, class_names = [ViewSpec(size=8, mean=(0.5,), std=(0.25,))], NAMES

    own.open = lambda *_: own
    own.train = Stream(own.train)
    sheet = show_views(own, rows=1)
    assert "view 0 (8 px)" in texts(sheet)
    assert np.allclose(drawn(sheet)[0], 0.5)  # without the normalisation


def test_other_values():
    assert to_panel({"text": "a", "image": torch.zeros(3, 4, 4)}).kind == "image"
    assert to_panel("a sentence").values == "a sentence"
    assert to_panel(None).values == "None"
    assert to_panel(torch.tensor(2.5)).values == "2.5"
    assert to_panel(np.zeros((6, 5, 3), np.float32)).values.shape == (6, 5, 3)  # channels last
    sheet = show_views(DataConfig.of((torch.full((M, 1, 8, 8), torch.nan), labels()), views=[noisy], num_workers=0))
    assert np.isfinite(drawn(sheet)).all()


def test_sheet_is_saved_and_shown_by_a_notebook(tmp_path):
    sheet = show_views(DataConfig(views="digits"), rows=1, title="digits")
    file = sheet.save(tmp_path / "new" / "views.png")
    with Image.open(file) as picture:
        assert min(picture.size) > 200
    formatters = pytest.importorskip("IPython.core.formatters")
    assert formatters.DisplayFormatter().format(sheet)[0]["image/png"].startswith(b"\x89PNG")


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="a picture needs matplotlib: pip install matplotlib"):
        show_views(DataConfig(views="digits"))


def test_wrong_input_is_one_line():
    with pytest.raises(ArgumentError, match=r"data='ndarray': expected a DataConfig or a Loader, e.g. DataConfig.of"):
        show_views(images())
    with pytest.raises(ArgumentError, match="rows=0: expected at least 1"):
        show_views(DataConfig(views="digits"), rows=0)


def test_failing_function_is_one_line():
    def broken(sample, generator):
        raise ZeroDivisionError("half")

    with pytest.raises(ValueError, match=r"sample 0: view 0: ZeroDivisionError: half \(.*test_show_views.py"):
        show_views(DataConfig.of((torch.zeros(M, 4), labels()), views=[broken], num_workers=0))
