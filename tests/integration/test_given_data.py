"""Runs on data sets and functions that are given in Python: launched, interrupted, resumed."""

import json

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from torch import nn

from ssl_core import BaseModel, Config, HardwareConfig, LogConfig, ModelConfig, OptimConfig, RunFolderError
from ssl_core.backbones import build_backbone
from ssl_core.run.folder import RunFolder
from ssl_core.training.fit_and_report import fit_and_report
from ssl_data import DataConfig
from ssl_launch.cli.resume import resume
from ssl_launch.commands.train import _config, launch

M, SHAPE = 24, (1, 4, 10)


def noisy(sample, generator):
    return sample + 0.1 * torch.randn(sample.shape, generator=generator)


def faded(batch, generator):
    views, labels, ids = batch
    return [view * torch.rand((), generator=generator) for view in views], labels, ids


class Idea(BaseModel):
    """Two views of a spectrogram have near features."""

    interrupted_after = -1

    def initialize_modules(self):
        self.backbone = nn.Sequential(nn.Flatten(), nn.Linear(self.image_shape[1] * self.image_shape[2], 5))

    def forward(self, x):
        return self.backbone(x)

    def compute_loss(self):
        first, second = map(self.backbone, self.data.views)
        return (first - second).square().mean() + (first.var(0) - 1).square().mean()

    def after_train_step(self):
        if self.progress.step == self.interrupted_after:
            raise KeyboardInterrupt


def spectrograms(shift=0.0):
    rows = torch.rand((M, *SHAPE), generator=torch.Generator().manual_seed(1)) + shift
    return rows, torch.arange(M) % 3


def config(folder, run, data=None, **keys):
    data = data or DataConfig.of(
        spectrograms(), spectrograms(), [noisy, noisy], batch_transform=faded, num_workers=0, **keys
    )
    log = LogConfig(
        folder=str(folder),
        run=run,
        checkpoint_every_steps=2,
        eval_every=0,
        report=False,
        progress=False,
        knn_samples=10,
    )
    hardware = HardwareConfig(device="cpu", precision="fp32", num_threads=1)
    return Config(data, ModelConfig("Idea"), OptimConfig(batch_size=8, epochs=2), hardware, log)


def test_interrupted_run_resumes_with_the_same_objects(tmp_path):
    whole, model = Idea(config(tmp_path, "whole")), Idea(config(tmp_path, "cut"))
    result = whole.fit()
    assert "test/knn" in result
    model.interrupted_after = 3  # in the middle of the second epoch is step 4; a checkpoint is at step 2
    with pytest.raises(KeyboardInterrupt):
        model.fit()
    folder = tmp_path / "cut"
    with pytest.raises(ValueError, match=r"data.dataset='objects': .*run the script again") as raised:
        resume(folder)
    assert "\n" not in str(raised.value)
    with pytest.raises(RunFolderError, match=r"the data of the run .* has changed: train has other images"):
        Idea(config(tmp_path, "cut", DataConfig.of(
            spectrograms(1.0), spectrograms(1.0), [noisy, noisy], batch_transform=faded, num_workers=0,
        ))).fit()  # fmt: skip
    resumed = Idea(config(tmp_path, "cut"))
    resumed.fit()
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    loaded = Idea.from_run(folder)  # no data is opened
    assert torch.equal(loaded.backbone[1].weight, whole.backbone[1].weight)
    assert RunFolder(folder).read_config()["data"]["dataset"] == "objects"


class Satellites(Idea):
    """The same on images of 13 bands, with a backbone of the package."""

    def initialize_modules(self):
        self.backbone = build_backbone("resnet9", self.image_shape, width=4)


def satellites(value_range=(0, 4095)):
    images, labels = np.random.default_rng(0).integers(0, 3000, (60, 16, 16, 13), dtype=np.uint16), np.arange(60) % 3
    images[np.arange(60), ..., labels] += 1000
    views = [{"preset": "simclr", "saturation": 0, "hue": 0, "grayscale": 0}]
    return DataConfig.of((images, labels), (images, labels), views, value_range=value_range, num_workers=1)


def test_run_on_images_of_13_bands(tmp_path):
    """With evaluation, interruption and resumption, and the report, of which one row is raw pixels."""
    configs = [config(tmp_path, name, satellites()) for name in ("whole", "cut", "cut")]
    configs[0].log.report = True
    whole, model, resumed = map(Satellites, configs)
    assert "test/knn" in fit_and_report(whole)
    rows = json.loads((tmp_path / "whole" / "table.json").read_text())["rows"]
    assert [row[0] for row in rows] == ["trained encoder", "untrained encoder", "raw pixels"]
    assert all(row[1] is not None for row in rows)
    model.interrupted_after = 3
    with pytest.raises(KeyboardInterrupt):
        model.fit()
    with pytest.raises(RunFolderError, match=r"data.value_range"):
        Satellites(config(tmp_path, "cut", satellites((0, 5000)))).fit()
    resumed.fit()
    assert next(resumed.backbone.parameters()).shape[1] == 13
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert Satellites.from_run(tmp_path / "cut").config.data.value_range == [0, 4095]


def test_other_function_is_other_data(tmp_path):
    model = Idea(config(tmp_path, "run"))
    model.interrupted_after = 3
    with pytest.raises(KeyboardInterrupt):
        model.fit()
    other = config(tmp_path, "run")
    other.data.views = [noisy, lambda sample: sample]
    with pytest.raises(RunFolderError, match="functions has other view 1"):
        Idea(other).fit()


def test_launch_takes_an_object_that_the_command_line_changes(monkeypatch, tmp_path):
    """The group ``data`` of the recipe is replaced."""
    data = DataConfig.of(spectrograms(), spectrograms(), [noisy, noisy], num_workers=0)
    found = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(launch.__globals__, "_run", lambda composed, *rest: found.append(_config(composed, *rest)))
    monkeypatch.setattr("sys.argv", [str(tmp_path / "main.py"), "data.fraction=0.5"])
    GlobalHydra.instance().clear()
    launch(Idea, data=data)
    assert found[0].data.views == [noisy, noisy]
    assert (found[0].data.fraction, data.fraction, found[0].data.num_workers) == (0.5, 1.0, 0)
    assert len(found[0].data.open(4, 0).train.labels) == M // 2
    monkeypatch.setattr("sys.argv", [str(tmp_path / "main.py"), "data.fractoin=0.5"])
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit):
        launch(Idea, data=data)
