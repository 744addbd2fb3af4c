"""Runs on class folders of TIFF files with five bands of 16 bits. Oracle: numpy, on the arrays that tifffile wrote."""

import numpy as np
import pytest
import torch
from torch import nn

from ssl_core import BaseModel, Config, HardwareConfig, LogConfig, ModelConfig, OptimConfig, RunFolderError
from ssl_data import DataConfig

tifffile = pytest.importorskip("tifffile")

SIZE, BANDS = 16, 5
RANGE = [0, 10_000]
VIEWS = [{"crop_scale": [0.3, 1.0], "flip": 0.5}, {"rotation": 10.0, "brightness": 0.4}]


class Idea(BaseModel):
    """Two views of an image have near features."""

    interrupted_after = -1

    def initialize_modules(self):
        self.backbone = nn.Sequential(nn.Flatten(), nn.Linear(BANDS * SIZE * SIZE, 5))

    def forward(self, x):
        return self.backbone(x)

    def compute_loss(self):
        first, second = map(self.backbone, self.data.views)
        return (first - second).square().mean() + (first.var(0) - 1).square().mean()

    def after_train_step(self):
        if self.progress.step == self.interrupted_after:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Return the folder, and its training and test images ``(M, H, W, C)``."""
    root, rng, arrays = tmp_path_factory.mktemp("satellite"), np.random.default_rng(0), {}
    for part, count in (("train", 8), ("test", 3)):
        arrays[part] = rng.integers(0, RANGE[1] + 1, (2 * count, SIZE, SIZE, BANDS), dtype=np.uint16)
        for number, array in enumerate(arrays[part]):
            path = root / part / ("forest", "water")[number // count] / f"{number:02}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, array, photometric="minisblack", planarconfig="contig", compression="zlib")
    return root, arrays["train"], arrays["test"]


def data(root, **keys):
    return DataConfig("ImageFolder", str(root), views=VIEWS, pixels="stored", value_range=RANGE, **keys)


def config(folder, run, root, **keys):
    log = LogConfig(
        folder=str(folder), run=run, checkpoint_every_steps=2, eval_every=0, report=False, progress=False, knn_samples=10
    )  # fmt: skip
    hardware = HardwareConfig(device="cpu", precision="fp32", num_threads=1)
    return Config(data(root, **keys), ModelConfig("Idea"), OptimConfig(batch_size=8, epochs=2), hardware, log)


@pytest.mark.parametrize("executor", ["fused", "device"])
def test_normalised_images_are_those_of_numpy(images, executor):
    root, train, test = images
    loaders = data(root, executor=executor).open(8, seed=0)
    scaled = train / RANGE[1]
    mean, std = scaled.mean((0, 1, 2)), scaled.std((0, 1, 2))
    assert np.allclose(loaders.mean, mean, rtol=1e-6)
    assert np.allclose(loaders.std, std, rtol=1e-6)
    assert loaders.image_shape == (BANDS, SIZE, SIZE)
    found = torch.cat([batch[0][0] for batch in loaders.evaluation["imagefolder"]])
    expected = ((test / RANGE[1] - mean) / std).transpose(0, 3, 1, 2)
    assert np.abs(found.numpy() - expected).max() < 1e-4
    assert loaders.evaluation["imagefolder"].labels.tolist() == [0] * 3 + [1] * 3


def test_views_do_not_depend_on_memory_or_workers(images):
    root, _, _ = images
    loaders = [data(root, executor="fused", num_workers=number).open(8, seed=0).train for number in (1, 4)]
    loaders[1].source.images = None  # read one by one
    for first, second in zip(*loaders):
        assert torch.equal(first[2], second[2])
        assert all(torch.equal(one, other) for one, other in zip(first[0], second[0]))


def test_interrupted_run_on_bands_resumes(tmp_path, images):
    root, _, _ = images
    whole, model = Idea(config(tmp_path, "whole", root)), Idea(config(tmp_path, "cut", root))
    assert "imagefolder/knn" in whole.fit()
    model.interrupted_after = 3
    with pytest.raises(KeyboardInterrupt):
        model.fit()
    other = config(tmp_path, "cut", root)
    other.data.value_range = [0, 20_000]
    with pytest.raises(RunFolderError, match=r"value_range"):
        Idea(other).fit()
    resumed = Idea(config(tmp_path, "cut", root))
    resumed.fit()
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_test_images_of_other_bands_raise(tmp_path, images):
    _, train, test = images
    for part, array in (("train", train[0]), ("test", test[0][..., :3])):
        (tmp_path / part / "water").mkdir(parents=True)
        np.save(tmp_path / part / "water" / "0.npy", array)
    with pytest.raises(
        ValueError,
        match=r"^data.pixels: the images of 'imagefolder' have 3 bands of uint16, those to train with 5 of uint16",
    ):
        data(tmp_path).open(1, seed=0)
