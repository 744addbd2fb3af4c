"""Measure the time that a trainer adds to a step of a very small network: two linear layers, a batch of 32, SGD with momentum.

The hand-written loop does what training needs and nothing else: no schedule, no gradient norm, no check of the loss, no
seeding, no metrics.
"""

import dataclasses
import os
import tempfile
from types import SimpleNamespace
from typing import Any

from process_timing import Epoch
from turns import Turns

STEPS, BATCH, FEATURES, CLASSES = 100, 32, 192, 10


def _net() -> Any:
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, CLASSES))


def _batches() -> list[Any]:
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    return [(torch.randn(BATCH, 3, 8, 8), torch.randint(0, CLASSES, (BATCH,)), torch.arange(BATCH)) for _ in range(16)]


# ---- by hand


def by_hand(precision: str = "fp32") -> Epoch:
    import torch
    import torch.nn.functional as F

    turns, net = Turns(_batches(), STEPS), _net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    def fit() -> None:
        for images, labels, _ in turns:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
                loss = F.cross_entropy(net(images), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return turns.drive(fit)


def by_hand_bf16() -> Epoch:
    return by_hand("bf16")


# ---- ours


def ours(precision: str = "fp32", every_steps: int = 10, probe: bool = False) -> Epoch:
    import torch.nn.functional as F

    from ssl_core import BaseModel, Config, HardwareConfig, LogConfig, ModelConfig, OptimConfig

    class Net(BaseModel):
        def initialize_modules(self) -> None:
            if probe:  # a module of this name has one
                self.backbone = _net()
            else:
                self.net = _net()

        def forward(self, x: Any) -> Any:
            return self.backbone(x) if probe else self.net(x)

        def compute_loss(self) -> Any:
            return F.cross_entropy(self(self.data[0][0]), self.data[1])

    turns = Turns([([images], labels, ids) for images, labels, ids in _batches()], STEPS)

    @dataclasses.dataclass
    class Data:
        def open(self, batch_size: int, seed: int, rank: int, world_size: int) -> Any:
            return SimpleNamespace(
                train=turns, reference=turns, evaluation={}, num_classes=CLASSES, image_shape=(3, 8, 8)
            )

    config = Config(
        data=Data(),
        model=ModelConfig(name="net"),
        optim=OptimConfig(lr=0.01, batch_size=BATCH, epochs=1),
        hardware=HardwareConfig(device="cpu", precision=precision, num_threads=1),
        log=LogConfig(folder=tempfile.mkdtemp(dir=os.environ["BENCH"]), run="run", every_steps=every_steps),
    )
    return turns.drive(Net(config).fit)


def ours_every_step() -> Epoch:
    return ours(every_steps=1)


def ours_bf16() -> Epoch:
    return ours("bf16")


def ours_probe() -> Epoch:
    return ours(probe=True)


# ---- Lightning


def lightning(every_steps: int = 0) -> Epoch:
    """With what it has by default, but for the bar, which is off; ``every_steps``: a line of the loss in its CSV file."""
    import warnings

    import lightning
    import torch
    import torch.nn.functional as F
    from lightning.pytorch.loggers import CSVLogger

    class Net(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = _net()

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = F.cross_entropy(self.net(batch[0]), batch[1])
            if every_steps:
                self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    warnings.simplefilter("ignore")  # few workers, no validation: its advice
    turns, folder = Turns(_batches(), STEPS), tempfile.mkdtemp(dir=os.environ["BENCH"])
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=1, enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
        logger=CSVLogger(folder) if every_steps else True, log_every_n_steps=every_steps or 50,
    )  # fmt: skip
    return turns.drive(lambda: trainer.fit(Net(), turns))


def lightning_every_step() -> Epoch:
    return lightning(every_steps=1)


CONTENDERS = {
    "by hand": by_hand,
    "ours": ours,
    "ours, a line every step": ours_every_step,
    "ours, with an online probe": ours_probe,
    "by hand, bf16": by_hand_bf16,
    "ours, bf16": ours_bf16,
    "Lightning": lightning,
    "Lightning, a line every step": lightning_every_step,
}
