"""Images of a run: PNG files in the run folder, shown by the sinks."""

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_core.diagnostics.replay import replay
from ssl_core.loggers.images import save_image, to_pixels
from ssl_core.run.folder import RunFolder


class Listener:
    """A user-defined sink."""

    def __init__(self):
        self.steps, self.images, self.closed = [], [], False

    def log(self, step, values):
        self.steps.append(step)

    def log_image(self, step, name, path):
        self.images.append((step, name, path))

    def close(self):
        self.closed = True


@pytest.fixture
def showing_model(tiny_model):
    class Showing(tiny_model):
        def make_sinks(self):
            self.listener = Listener()
            return [*super().make_sinks(), self.listener]

        def after_eval_epoch(self):
            self.log_image("eval/view", torch.full((3, 8, 8), 0.5))

    return Showing


@pytest.mark.parametrize(
    ("image", "shape"),
    [
        (torch.zeros(3, 5, 6), (5, 6, 3)),
        (torch.zeros(5, 6, 3), (5, 6, 3)),
        (torch.zeros(1, 5, 6, dtype=torch.bfloat16), (5, 6)),
        (torch.zeros(3, 6, 3), (6, 3, 3)),  # both are possible: a tensor is (C, H, W)
        (np.zeros((3, 6, 3)), (3, 6, 3)),  # and an array (H, W, C)
        (np.zeros((4, 5, 6), dtype=np.uint8), (5, 6, 4)),
        (np.zeros((5, 6), dtype=bool), (5, 6)),
    ],
)
def test_layouts_of_images(image, shape):
    pixels = to_pixels("views", image)
    assert pixels.shape == shape
    assert pixels.dtype == np.uint8


def test_floating_point_covers_0_to_255():
    image = torch.tensor([[0.0, 0.5, 1.0, float("nan")]], requires_grad=True)
    assert to_pixels("views", image).tolist() == [[0, 128, 255, 0]]
    with pytest.warns(UserWarning, match=r"values outside \[0, 1\] are clipped"):
        assert to_pixels("views", image * 2).tolist() == [[0, 255, 255, 0]]


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        (torch.zeros(16, 3, 8, 8), "expected .* got \\(16, 3, 8, 8\\)"),
        (torch.zeros(2, 8, 8), "expected .* got \\(2, 8, 8\\)"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "expected uint8, bool or floating point, got int64"),
    ],
)
def test_other_shapes_and_types_raise(image, problem):
    with pytest.raises(ValueError, match=problem):
        to_pixels("views", image)


@pytest.mark.parametrize("name", ["", "/views", "../views", "a/../../views", "views/", "a b"])
def test_name_stays_in_the_folder(tmp_path, name):
    with pytest.raises(ValueError, match="expected a name of letters"):
        save_image(RunFolder(tmp_path), 1, name, torch.zeros(4, 4))
    assert not list(tmp_path.rglob("*.png"))


def test_figure_is_saved_and_stays_open(tmp_path):
    figure = pytest.importorskip("matplotlib.figure").Figure(figsize=(1, 1))
    figure.subplots().plot([1, 2])
    path = save_image(RunFolder(tmp_path), 12, "curve", figure)
    assert path == tmp_path / "images" / "curve" / "step_00000012.png"
    with Image.open(path) as image:
        assert image.format == "PNG"
    assert figure.axes


def test_images_reach_folder_and_user_sink(make_config, showing_model):
    config = make_config()
    model = showing_model(config)
    model.log_image("before", torch.zeros(4, 4))  # outside of a run nothing happens
    model.fit()
    folder = RunFolder.of(config)
    expected = [folder.images / "eval" / "view" / f"step_{step:08d}.png" for step in (4, 8, 12)]
    assert sorted(folder.images.rglob("*.png")) == expected
    assert model.listener.images == [(step, "eval/view", path) for step, path in zip((4, 8, 12), expected)]
    assert sorted(set(model.listener.steps)) == list(range(1, 13))
    assert model.listener.closed


def test_replay_saves_no_image(make_config, showing_model, toy_data):
    config = make_config(optim__epochs=1)

    class InSteps(showing_model):
        def after_train_step(self):
            super().after_train_step()
            self.log_image("view", torch.zeros(4, 4))

    InSteps(config).fit()
    folder = RunFolder.of(config)
    for path in folder.images.rglob("*.png"):
        path.unlink()
    replay(InSteps, folder.path, step=2, data=toy_data())
    assert not list(folder.images.rglob("*.png"))


def test_failing_sink_costs_no_image_and_no_run(make_config, showing_model, monkeypatch, caplog):
    class Failing(Listener):
        def log_image(self, step, name, path):
            raise ConnectionError("no route to host")

    config = make_config(optim__epochs=1)
    monkeypatch.setattr(showing_model, "make_sinks", lambda self: [Failing()])
    showing_model(config).fit()
    assert "Failing.log_image() failed: ConnectionError: no route to host" in caplog.text
    assert list((RunFolder.of(config).path / "images").rglob("*.png"))
