"""A run on FFCV's own loader: interrupted in the middle of an epoch and resumed."""

import importlib.util
import os

import numpy as np
import pytest
import torch
from torch import nn

from ssl_core import BaseModel, Config, HardwareConfig, LogConfig, ModelConfig, OptimConfig, RunFolderError
from ssl_data import ArraySource, DataConfig, write_beton

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ffcv") is None and os.environ.get("SSL_FFCV") != "1",
    reason="ffcv is not installed (SSL_FFCV=1 requires it)",
)


class Idea(BaseModel):
    """Features of unit variance."""

    interrupted_after = -1

    def initialize_modules(self):
        self.backbone = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 5))
        self.seen = []  # ids of each batch

    def forward(self, x):
        return self.backbone(x)

    def compute_loss(self):
        self.seen.append(self.data.ids.tolist())
        (view,) = self.data.views
        return (self.backbone(view).var(0) - 1).square().mean()

    def after_train_step(self):
        if self.progress.step == self.interrupted_after:
            raise KeyboardInterrupt


def make_loader(path):
    """Return a loader of one view without random operations, so that runs can be compared."""
    from ffcv import transforms as t
    from ffcv.fields.decoders import SimpleRGBImageDecoder
    from ffcv.loader import Loader, OrderOption

    normalize = t.NormalizeImage(np.full(3, 120.0), np.full(3, 60.0), np.float32)
    pipelines = {"image": [SimpleRGBImageDecoder(), normalize, t.ToTensor(), t.ToTorchImage()]}
    return Loader(str(path), 8, num_workers=1, order=OrderOption.RANDOM, seed=5, pipelines=pipelines)


def test_interrupted_run_on_an_ffcv_loader_resumes(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for part, count in (("train", 24), ("test", 16)):
        images = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
        write_beton(ArraySource(images, np.arange(count) % 4), tmp_path / f"{part}.beton", mode="jpg")
    loader = make_loader(tmp_path / "train.beton")

    def model(run):
        data = DataConfig.of(train=loader, test=str(tmp_path / "test.beton"), num_workers=1)
        log = LogConfig(
            folder=str(tmp_path),
            run=run,
            checkpoint_every_steps=2,
            eval_every=0,
            report=False,
            progress=False,
            knn_samples=10,
        )
        hardware = HardwareConfig(device="cpu", precision="fp32", num_threads=1)
        return Idea(Config(data, ModelConfig("Idea"), OptimConfig(batch_size=8, epochs=2), hardware, log))

    whole, cut, resumed = model("whole"), model("cut"), model("cut")
    assert "test/knn" in whole.fit()
    cut.interrupted_after = 5  # in the second epoch, of three batches; a checkpoint is at step 4
    with pytest.raises(KeyboardInterrupt):
        cut.fit()
    with monkeypatch.context() as changes:
        changes.setattr(loader, "indices", np.arange(16))
        with pytest.raises(RunFolderError, match="train has 16 samples, was 24"):
            model("cut").fit()
    resumed.fit()
    assert len(whole.seen) == 6
    assert [*cut.seen[: 6 - len(resumed.seen)], *resumed.seen] == whole.seen
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
