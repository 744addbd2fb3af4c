"""SimCLR with a small residual net (resnet9 of width 16) at 32 pixels, batches of 128: samples a second, two views each.

The batches are fixed and in memory, so that data does not matter; in one row they come from ssl_data, which makes the views.
All contenders train the same modules with the same loss. Ours also trains its two online probes, as it does by default.
"""

import dataclasses
import os
import tempfile
from types import SimpleNamespace
from typing import Any

from process_timing import Epoch
from turns import Turns

STEPS, BATCH, SHAPE, CLASSES = 3, 128, (3, 32, 32), 10


def _modules() -> tuple[Any, Any]:
    import torch

    from ssl_core.backbones import build_backbone
    from ssl_core.modules.heads import mlp

    torch.set_num_threads(1)
    torch.manual_seed(0)
    backbone = build_backbone("resnet9", SHAPE, width=16)
    return backbone, mlp([backbone.num_features, 256, 64])


def _batches() -> list[Any]:
    import torch

    return [
        ([torch.randn(BATCH, *SHAPE) for _ in range(2)], torch.randint(0, CLASSES, (BATCH,)), torch.arange(BATCH))
        for _ in range(4)
    ]


def by_hand(fast: bool = True) -> Epoch:
    import torch

    from ssl_losses import nt_xent

    backbone, projector = _modules()
    turns, net = Turns(_batches(), STEPS), torch.nn.Sequential(backbone, projector)
    layout = torch.channels_last if fast else torch.contiguous_format
    net.to(memory_format=layout)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    def fit() -> None:
        for views, _, _ in turns:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=fast):
                first, second = (net(view.to(memory_format=layout)) for view in views)
                loss = nt_xent(first, second, 0.2)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return turns.drive(fit, BATCH)


def by_hand_plain() -> Epoch:
    return by_hand(fast=False)


def ours(data: bool = False) -> Epoch:
    from ssl_core import Config, HardwareConfig, LogConfig, OptimConfig
    from ssl_core.methods import SimCLR

    turns = _views() if data else Turns(_batches(), STEPS)
    _modules()  # sets the threads

    @dataclasses.dataclass
    class Data:
        def open(self, batch_size: int, seed: int, rank: int, world_size: int) -> Any:
            return SimpleNamespace(train=turns, reference=turns, evaluation={}, num_classes=CLASSES, image_shape=SHAPE)

    config = Config(
        data=Data(),
        model=SimCLR.config_class(backbone="resnet9", backbone_options={"width": 16}, projector=[256, 64]),
        optim=OptimConfig(lr=0.01, batch_size=BATCH, epochs=1),
        hardware=HardwareConfig(device="cpu", num_threads=1),
        log=LogConfig(folder=tempfile.mkdtemp(dir=os.environ["BENCH"]), run="run"),
    )
    return turns.drive(SimCLR(config).fit, BATCH)


def _views() -> Turns:
    import numpy as np

    from ssl_data import ArraySource, Loader, views

    images = np.random.default_rng(0).integers(0, 256, (2048, 32, 32, 3), np.uint8)
    source = ArraySource(images, np.arange(2048) % CLASSES)
    return Turns(
        Loader(source, views("simclr", size=32, mean=(0.5,) * 3, std=(0.25,) * 3), BATCH, num_workers=1), STEPS
    )


def ours_with_views() -> Epoch:
    return ours(data=True)


def lightning(precision: str = "32-true") -> Epoch:
    import warnings

    import lightning
    import torch

    from ssl_losses import nt_xent

    backbone, projector = _modules()

    class SimCLR(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Sequential(backbone, projector)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            first, second = (self.net(view) for view in batch[0])
            return nt_xent(first, second, 0.2)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    warnings.simplefilter("ignore")  # few workers, no validation: its advice
    turns = Turns(_batches(), STEPS)
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=1, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=tempfile.mkdtemp(dir=os.environ["BENCH"]), precision=precision,
    )  # fmt: skip
    return turns.drive(lambda: trainer.fit(SimCLR(), turns), BATCH)


def lightning_bf16() -> Epoch:
    return lightning("bf16-mixed")


CONTENDERS = {
    "ours": ours,
    "ours, views by ssl_data": ours_with_views,
    "by hand, bf16, channels_last": by_hand,
    "by hand, float32, contiguous": by_hand_plain,
    "Lightning": lightning,
    "Lightning, bf16": lightning_bf16,
}
