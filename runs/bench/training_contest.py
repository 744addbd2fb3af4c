"""SimCLR on CIFAR-10 from stored images to trained weights: each library with its own views, loader, loss and trainer.

The modules are the same everywhere: resnet9 of width 16 and a projector of 256 and 64 units; batches of 256, SGD. Everything
else is what the library does by default on a machine with two processors: its precision, the number of its threads, its
probes. The peers' DataLoaders have two workers that live on from epoch to epoch; images are decoded and in memory.

The loops by hand get their views from ssl_data: they are the limit of what a trainer can reach with these modules.
"""

import dataclasses
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from process_timing import Epoch
from thumbnails import MEAN, STD, decode_sample
from turns import Turns

STEPS, BATCH, SHAPE, CLASSES = 2, 256, (3, 32, 32), 10
TEMPERATURE, LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.2, 0.05, 0.9, 1e-4
PROJECTOR = [256, 64]
WORKERS, THREADS = 2, 2


def prepare(archive: Path, folder: Path) -> None:
    """Decode the images of the contest into ``folder/images.npz``."""
    decode_sample(archive, folder / "images.npz")


def _arrays() -> tuple[Any, Any]:
    import numpy as np

    with np.load(Path(os.environ["BENCH"]) / "images.npz", allow_pickle=False) as file:
        return file["images"], file["labels"]


def _modules() -> tuple[Any, Any]:
    import torch

    from ssl_core.backbones import build_backbone
    from ssl_core.modules.heads import mlp

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    backbone = build_backbone("resnet9", SHAPE, width=16)
    return backbone, mlp([backbone.num_features, *PROJECTOR])


def _loader() -> Any:
    from ssl_data import ArraySource, Loader, views

    return Loader(ArraySource(*_arrays()), views("simclr", size=32, mean=MEAN, std=STD), BATCH)


def _sgd(parameters: Any) -> Any:
    import torch

    return torch.optim.SGD(parameters, LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)


# ---- by hand


def by_hand(together: bool = False) -> Epoch:
    """The loop that a researcher writes who knows channels_last and autocast; ``together``: both views in one forward pass."""
    import torch

    from ssl_core.hardware import has_bf16
    from ssl_losses import nt_xent

    backbone, projector = _modules()
    net = torch.nn.Sequential(backbone, projector).to(memory_format=torch.channels_last)
    turns, optimizer = Turns(_loader(), STEPS), _sgd(net.parameters())
    fast = has_bf16(torch.device("cpu"))

    def fit() -> None:
        for views, _, _ in turns:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=fast):
                first, second = net(torch.cat(views)).chunk(2) if together else map(net, views)
                loss = nt_xent(first, second, TEMPERATURE)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return turns.drive(fit, BATCH)


def by_hand_together() -> Epoch:
    return by_hand(together=True)


# ---- ours


def ours(precision: str = "auto") -> Epoch:
    from ssl_core import Config, HardwareConfig, LogConfig, OptimConfig
    from ssl_core.methods import SimCLR

    turns = Turns(_loader(), STEPS)

    @dataclasses.dataclass
    class Data:
        def open(self, batch_size: int, seed: int, rank: int, world_size: int) -> Any:
            return SimpleNamespace(train=turns, reference=turns, evaluation={}, num_classes=CLASSES, image_shape=SHAPE)

    config = Config(
        data=Data(),
        model=SimCLR.config_class(
            backbone="resnet9", backbone_options={"width": 16}, projector=PROJECTOR, temperature=TEMPERATURE
        ),
        optim=OptimConfig(
            lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, batch_size=BATCH, epochs=1, warmup_epochs=0
        ),
        hardware=HardwareConfig(device="cpu", precision=precision, num_threads=THREADS),
        log=LogConfig(folder=tempfile.mkdtemp(dir=os.environ["BENCH"]), run="run"),
    )
    return turns.drive(SimCLR(config).fit, BATCH)


def ours_bf16() -> Epoch:
    return ours("bf16")


# ---- peers


class Cifar:
    """Decoded images, made PIL images one by one, as torchvision's CIFAR10 gives them; ``keys``: in a dict."""

    def __init__(self, transform: Any, keys: tuple[str, str] | None = None) -> None:
        self.images, self.labels = _arrays()
        self.transform, self.keys = transform, keys

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Any:
        from PIL import Image

        image, label = Image.fromarray(self.images[index]), int(self.labels[index])
        if self.keys:
            return self.transform(dict(zip(self.keys, (image, label))))
        return self.transform(image), label


def _dataloader(dataset: Any) -> Any:
    from torch.utils.data import DataLoader

    return DataLoader(
        dataset, batch_size=BATCH, shuffle=True, num_workers=WORKERS, drop_last=True, persistent_workers=True
    )


def _trainer(precision: str) -> Any:
    import warnings

    import lightning

    warnings.simplefilter("ignore")  # few workers, no validation: its advice
    return lightning.Trainer(
        accelerator="cpu", max_epochs=1, enable_progress_bar=False, enable_model_summary=False, precision=precision,
        default_root_dir=tempfile.mkdtemp(dir=os.environ["BENCH"]), num_sanity_val_steps=0,
    )  # fmt: skip


def lightly(precision: str = "32-true") -> Epoch:
    """lightly with Lightning, as in its examples."""
    import lightning
    from lightly.loss import NTXentLoss
    from lightly.transforms import SimCLRTransform

    backbone, projector = _modules()
    normalize = {"mean": MEAN, "std": STD}
    transform = SimCLRTransform(input_size=32, cj_strength=0.5, gaussian_blur=0.0, normalize=normalize)
    turns = Turns(_dataloader(Cifar(transform)), STEPS)

    class SimCLR(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.projector = backbone, projector
            self.criterion = NTXentLoss(temperature=TEMPERATURE)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            first, second = (self.projector(self.backbone(view)) for view in batch[0])
            return self.criterion(first, second)

        def configure_optimizers(self) -> Any:
            return _sgd(self.parameters())

    model, trainer = SimCLR(), _trainer(precision)
    # stable-pretraining adds its callbacks to every trainer of its environment
    trainer.callbacks = [each for each in trainer.callbacks if type(each).__module__.startswith("lightning.")]  # type: ignore[attr-defined]
    return turns.drive(lambda: trainer.fit(model, turns), BATCH)


def lightly_bf16() -> Epoch:
    return lightly("bf16-mixed")


def stable_pretraining(precision: str = "32-true") -> Epoch:
    """stable-pretraining with its transforms, forward function and loss, as in its README."""
    import stable_pretraining as spt
    from stable_pretraining.data import transforms
    from stable_pretraining.forward import simclr
    from stable_pretraining.losses import NTXEntLoss

    backbone, projector = _modules()
    view = transforms.Compose(
        transforms.RGB(),
        transforms.RandomResizedCrop((32, 32), scale=(0.08, 1.0)),
        transforms.RandomHorizontalFlip(p=0.5),
        transforms.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8),
        transforms.RandomGrayscale(p=0.2),
        transforms.ToImage(mean=MEAN, std=STD),
    )
    dataset = Cifar(transforms.MultiViewTransform([view, view]), ("image", "label"))
    turns = Turns(_dataloader(dataset), STEPS)
    module = spt.Module(
        backbone=backbone, projector=projector, forward=simclr,
        simclr_loss=NTXEntLoss(temperature=TEMPERATURE),
        optim={
            "optimizer": {"type": "SGD", "lr": LEARNING_RATE, "momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY},
            "scheduler": {"type": "ConstantLR", "factor": 1.0},
        },
    )  # fmt: skip
    trainer = _trainer(precision)
    return turns.drive(lambda: trainer.fit(module, turns), BATCH)


def stable_pretraining_bf16() -> Epoch:
    return stable_pretraining("bf16-mixed")


CONTENDERS = {  # name -> the function, and the packages that it needs; bf16 only where the processor has it
    "ours": (ours, ()),
    "ours, bf16": (ours_bf16, ()),
    "by hand": (by_hand, ()),
    "by hand, views together": (by_hand_together, ()),
    "lightly, Lightning": (lightly, ("lightly", "lightning")),
    "lightly, Lightning, bf16": (lightly_bf16, ("lightly", "lightning")),
    "stable-pretraining": (stable_pretraining, ("stable_pretraining",)),
    "stable-pretraining, bf16": (stable_pretraining_bf16, ("stable_pretraining",)),
}
