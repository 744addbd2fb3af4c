"""A tiny data configuration (core asks any object for loaders) and a tiny method."""

import contextlib
import copy
import dataclasses
import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

from ssl_core import BaseModel, Config, HardwareConfig, LogConfig, ModelConfig, OptimConfig


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


class ToyLoader:
    """``(views, labels, indices)`` of coloured noise; the views are a pure function of (seed, epoch, index)."""

    def __init__(self, images, labels, batch_size, views, seed, shuffle, rank, world_size):
        self.images, self.labels, self.batch_size, self.views = images, labels, batch_size, views
        self.seed, self.shuffle, self.rank, self.world_size = seed, shuffle, rank, world_size
        self.epoch, self.step, self.crops = 0, 0, False

    def __len__(self):
        return len(self.images) // self.batch_size if self.shuffle else -(-len(self.images) // self.batch_size)

    def start(self, epoch, step):
        self.epoch, self.step = epoch, step
        return self

    def in_order(self):
        keys = self.images, self.labels, self.batch_size, self.views, self.seed
        return ToyLoader(*keys, shuffle=False, rank=self.rank, world_size=self.world_size)

    def with_crops(self):
        """The views are whole images; say that they are crops of a larger one, which depend on the image."""
        part = copy.copy(self)
        part.crops = True
        return part

    def __iter__(self):
        generator = torch.Generator().manual_seed(self.seed * 1000 + self.epoch)
        n = len(self.images)
        order = torch.randperm(n, generator=generator) if self.shuffle else torch.arange(n)
        noise = 0.3 * torch.randn(self.views, *self.images.shape, generator=generator)
        for step in range(self.step, len(self)):
            ids = self.share(order[step * self.batch_size : (step + 1) * self.batch_size])
            views = [self.images[ids] + (noise[v, ids] if self.shuffle else 0) for v in range(self.views)]
            boxes = [[(0.7 ** (part + 1) * (ids + v)) % 4 for part in range(4)] for v in range(self.views)]
            crops = [torch.stack([*box[:2], 8 + box[2], 8 + box[3], ids % 2], 1).float() for box in boxes]
            yield views, self.labels[ids], ids, *([crops] if self.crops else [])
        self.epoch, self.step = self.epoch + 1, 0

    def share(self, ids):
        """Return the ids of this rank."""
        return ids[self.rank :: self.world_size]


@dataclasses.dataclass
class ToyLoaders:
    train: ToyLoader
    reference: ToyLoader
    evaluation: dict
    num_classes: int = 4
    image_shape: tuple = (3, 8, 8)


@dataclasses.dataclass
class ToyData:
    """64 training and 32 test images of four classes, each a colour pattern in noise."""

    loader = ToyLoader
    views: int = 2
    opened: int = dataclasses.field(default=0, metadata={"resume": "free"})  # how often

    def view_sizes(self):
        return [8] * self.views

    def has_labels(self):
        return True

    def open(self, batch_size, seed, rank=0, world_size=1):
        self.opened += 1
        generator = torch.Generator().manual_seed(7)
        pattern = torch.randn(4, 3, 8, 8, generator=generator)
        labels = torch.arange(96) % 4
        images = pattern[labels] + 0.5 * torch.randn(96, 3, 8, 8, generator=generator)

        def loader(part, views, shuffle):
            return self.loader(images[part], labels[part], batch_size, views, seed, shuffle, rank, world_size)

        train, test = slice(0, 64), slice(64, 96)
        return ToyLoaders(loader(train, self.views, True), loader(train, 1, False), {"toy": loader(test, 1, False)})


class TinyModel(BaseModel):
    """A linear encoder; the views of an image attract each other (squared distance), with the classes as a second term."""

    def initialize_modules(self):
        self.backbone = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.BatchNorm1d(16), nn.ReLU())
        self.head = nn.Linear(16, self.num_classes)

    def forward(self, x):
        return self.head(self.backbone(x))

    def compute_loss(self):
        first, second = (self.forward(view) for view in self.data[0])
        classes = nn.functional.cross_entropy(first, self.data[1])
        return {"classes": classes, "distance": 0.1 * (first - second).square().mean()}


@pytest.fixture
def tiny_model():
    return TinyModel


@pytest.fixture
def toy_data():
    return ToyData


@pytest.fixture
def make_config(tmp_path):
    """Return a function that makes a quick configuration; keywords are ``group__key=value``."""

    def make(**changes):
        config = Config(
            data=ToyData(),
            model=ModelConfig(name="tiny"),
            optim=OptimConfig(batch_size=16, epochs=3, lr=0.1),
            hardware=HardwareConfig(device="cpu", precision="fp32", num_threads=1),
            log=LogConfig(folder=str(tmp_path), run="run", every_steps=1, report=False, progress=False, eval_every=1),
        )
        for name, value in changes.items():
            group, key = name.split("__")
            assert hasattr(getattr(config, group), key), name
            setattr(getattr(config, group), key, value)
        return config

    return make


@pytest.fixture
def serve_wandb(monkeypatch, tmp_path):
    """Return a function that starts a stand-in for wandb's server (wandb_server.py) and points wandb at it."""
    spec = importlib.util.spec_from_file_location("wandb_server", Path(__file__).with_name("wandb_server.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv("HOME", str(tmp_path))
    with contextlib.ExitStack() as stack:

        def start(behaviour="works", dies_after=None):
            server = stack.enter_context(module.WandbServer(behaviour, dies_after))
            for name, value in server.environment.items():
                monkeypatch.setenv(name, value)
            return server

        yield start
