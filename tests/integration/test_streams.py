"""Runs on a stream, killed at a step and resumed. Oracle: the same run, never interrupted."""

import io
import json
import multiprocessing
import os
import signal

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ssl_core import BaseModel, Config, HardwareConfig, LogConfig, ModelConfig, OptimConfig, RunFolderError
from ssl_core.run.folder import RunFolder
from ssl_data import DataConfig

M, BATCH, KILLED_AT = 24, 4, 8  # the third batch of the second epoch; a checkpoint is at step 7


def picture(number):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (20, 14, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    library = pytest.importorskip("webdataset")
    folder = tmp_path_factory.mktemp("shards")
    with library.ShardWriter(str(folder / "%06d.tar"), maxcount=4, verbose=0) as writer:
        for number in range(M):
            writer.write({"__key__": f"{number:04}", "png": picture(number), "cls": number % 3})
    return f"{folder}/{{000000..000005}}.tar"


def web_dataset(shards):
    return pytest.importorskip("webdataset").WebDataset(shards, shardshuffle=6).shuffle(8, initial=8)


def hugging_face(shards):
    library = pytest.importorskip("datasets")
    features = library.Features({"image": library.Image(), "label": library.ClassLabel(names=list("abc"))})
    columns = {"image": [{"bytes": picture(n), "path": None} for n in range(M)], "label": [n % 3 for n in range(M)]}
    stream = library.Dataset.from_dict(columns, features=features).to_iterable_dataset(num_shards=6)
    return stream.shuffle(seed=3, buffer_size=8)


class Idea(BaseModel):
    """The two views of an image have near features."""

    def initialize_modules(self):
        self.backbone = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 5))

    def forward(self, x):
        return self.backbone(x)

    def compute_loss(self):
        first, second = map(self.backbone, self.data.views)
        return (first - second).square().mean() + (first.var(0) - 1).square().mean()


class Killed(Idea):
    def before_train_step(self):
        if self.progress.step == KILLED_AT:
            os.kill(os.getpid(), signal.SIGKILL)


def config(stream, shards, folder, run, **keys):
    data = DataConfig.of(train=stream(shards), test=shards, reference=shards, size=16, epoch_samples=M, **keys)
    log = LogConfig(
        folder=str(folder), run=run, checkpoint_every_steps=7, eval_every=0, report=False, progress=False, knn_samples=10
    )  # fmt: skip
    optim = OptimConfig(batch_size=BATCH, epochs=2, momentum=0.9)
    hardware = HardwareConfig(device="cpu", precision="fp32", num_threads=1)
    return Config(data, ModelConfig("Idea"), optim, hardware, log)


def losses(run):
    lines = [json.loads(line) for line in RunFolder(run).metrics.read_text().splitlines()]
    return [(line["step"], line["train/loss"]) for line in lines if "train/loss" in line]


@pytest.mark.parametrize("stream", [web_dataset, hugging_face])
def test_killed_run_resumes_equal_bit_by_bit(stream, shards, tmp_path):
    whole = Idea(config(stream, shards, tmp_path, "whole"))
    result = whole.fit()
    assert "test/knn" in result
    process = multiprocessing.get_context("fork").Process(
        target=lambda: Killed(config(stream, shards, tmp_path, "killed")).fit()
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not RunFolder(tmp_path / "killed").table.exists()
    resumed = Idea(config(stream, shards, tmp_path, "killed", num_workers=1))
    resumed.fit()
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    states = [each.optimizer.state_dict()["state"] for each in (whole, resumed)]
    assert all(torch.equal(states[0][key]["momentum_buffer"], states[1][key]["momentum_buffer"]) for key in states[0])
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")


def test_other_stream_is_other_data(shards, tmp_path):
    library = pytest.importorskip("webdataset")

    class Stopped(Idea):
        def before_train_step(self):
            if self.progress.step == KILLED_AT:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Stopped(config(web_dataset, shards, tmp_path, "run")).fit()
    other = config(lambda shards: library.WebDataset(shards, shardshuffle=False), shards, tmp_path, "run")
    with pytest.raises(
        RunFolderError, match=r"has changed: train has other images \(the first 16 in the order of this seed"
    ):
        Idea(other).fit()


def test_run_without_evaluation(shards, tmp_path):
    alone = config(web_dataset, shards, tmp_path, "alone")
    alone.data.given.test = alone.data.given.reference = None
    assert np.isfinite(Idea(alone).fit()["train/loss"])
