"""One row of methods.py: a method trained with a reduced recipe, and what its encoder is worth."""

import contextlib
import json
import math
import statistics
import tarfile
import tempfile
import time
from dataclasses import fields
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # before the forks: it takes five seconds
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import Tensor

import ssl_data.datasets
from ssl_core import BaseModel, Config
from ssl_core.backbones import build_backbone
from ssl_core.diagnostics.collapse import spread
from ssl_core.evaluation.features import extract
from ssl_core.methods import method_class
from ssl_core.methods.masked_image import MaskedImageModel
from ssl_core.methods.supervised import Supervised, SupervisedConfig
from ssl_data import views
from ssl_eval import knn, linear_probe, rankme
from ssl_launch.hydra_app.build_config import build_config

RUNS = Path(__file__).parent.parent
IMAGES = {"train": 1000, "test": 500}  # of each class
BACKBONES: dict[str, tuple[str, dict[str, Any], int]] = {  # name -> name and options in ssl_core, pixels of a view
    "untrained ResNet-9": ("resnet9", {"width": 16}, 16),
    "untrained ViT": ("vit_tiny", {"patch_size": 4, "width": 96, "depth": 4, "num_heads": 3}, 32),
    "untrained ViT (mean)": (
        "vit_tiny",
        {"patch_size": 4, "width": 96, "depth": 4, "num_heads": 3, "pool": "mean"},
        32,
    ),
    # of the methods that cut views into nine patches
    "untrained ResNet-9 at 32 pixels": ("resnet9", {"width": 16}, 32),
}
RESNET, VIT, MEAN_VIT, LARGE_RESNET = BACKBONES
RECIPES = {"simclr": "simclr_cifar10_sgd", "supervised": "supervised_cifar10_adam", "w_mse": "wmse_cifar10"}
LARGEST = {  # values of the model above these are reduced to them
    "projector": 512, "predictor": 512, "queue_size": 4096, "num_slices": 256, "num_prototypes": 512, "num_clusters": 512,
    "num_groups": 300, "head_width": 192, "head_depth": 2,
    "decoder_width": 96, "decoder_depth": 2, "decoder_heads": 3, "predictor_width": 96, "predictor_depth": 2,
    "predictor_heads": 3, "top_blocks": 2, "teacher_temperature": 0.04, "teacher_temperature_warmup_epochs": 0.0,
    "freeze_last_layer": 0, "freeze_prototypes_epochs": 0, "queue_start_epoch": 1,
}  # fmt: skip
MAX_VIEWS = 8  # of a list of views
# What a short run needs in place of the recipe's value; a teacher that averages over 30 steps follows a run of 150
SHRUNK = {"optimizer": "AdamW", "lr": 2e-3, "weight_decay": 1e-4, "trust_coefficient": None, "clip": False, "nesterov": False,
          "weight_decay_end": None}  # fmt: skip
SETTINGS: dict[str, dict[str, Any]] = {
    "moco_v2": {
        "model.momentum": 0.99,
        "model.queue_size": 2048,
    },  # the keys of a fast teacher differ from those in the queue
    "pirl": {"model.patch_size": 8},  # as large as Jigsaw's: ResNet-9 takes no smaller images
    "ressl": {"model.momentum": 0.99, "model.queue_size": 2048},
    # With 512 prototypes for 64 samples and the rate of the others the assignments collapse: the loss ends at log K
    "swav": {
        "model.num_prototypes": 128,
        "model.epsilon": 0.03,
        "model.freeze_prototypes_epochs": 9,
        "optim.lr": 5e-4,
    },
    "dino": {"model.num_prototypes": 128, "model.momentum": 0.99, "optim.lr": 1e-3},
    "w_mse": {"model.projector": [512, 32], "model.whitening_size": 64},
}  # method -> "group.key" -> value, on top of the above


def unpack_images(archive: Path, folder: Path) -> None:
    """Unpack the images that are used, unless they are there."""
    if (folder / "complete").exists():
        return
    counts: dict[Path, int] = {}
    with tarfile.open(archive) as tar:
        for member in filter(tarfile.TarInfo.isfile, tar):  # in the order of the archive: it is compressed
            part = Path(member.name).parent
            counts[part] = counts.get(part, 0) + 1
            if counts[part] <= IMAGES[part.parent.name]:
                tar.extract(member, folder, filter="data")
    (folder / "complete").touch()


def warm_up(data: Path) -> None:
    """Decode the images and compile what makes the views: the forks find both in memory."""
    ssl_data.datasets.open_dataset = cache(ssl_data.datasets.open_dataset)
    with tempfile.TemporaryDirectory() as runs:
        loaders = small_config("simclr", data, Path(runs)).data.open(128, 0)
        for loader in (loaders.train, loaders.reference):
            for _ in loader:  # to the end: a fork must not lose a thread
                pass


def reduced_recipe(name: str) -> Config:
    """Return the recipe of a method with a small backbone, narrow heads, at most eight views, and AdamW."""
    with initialize_config_dir(str((RUNS / "configs").resolve()), version_base=None):
        composed = OmegaConf.to_container(compose(RECIPES.get(name, f"{name}_cifar10")), resolve=True)
    config = build_config(composed, [])  # type: ignore[arg-type]
    model: Any = config.model
    use_backbone(config, untrained(config))
    for key, largest in LARGEST.items():
        value = getattr(model, key, None)
        if value is not None:
            small = [min(width, largest) for width in value] if isinstance(value, list) else min(value, largest)
            setattr(model, key, small)
    for key, value in SHRUNK.items():
        setattr(config.optim, key, value)
    if isinstance(config.data.views, list):
        config.data.views = config.data.views[:MAX_VIEWS]
    return config


def small_config(name: str, data: Path, runs: Path) -> Config:
    """Return the recipe of a method, reduced to a small model and one thread."""
    config = reduced_recipe(name)
    model: Any = config.model
    if hasattr(model, "momentum"):
        model.momentum = 0.97
        model.final_momentum = 1.0 if model.final_momentum == 1 else 0.99
    config.optim.batch_size = min(64, max(32, 128 // num_views(config.data)))  # short runs need many steps
    for key, value in SETTINGS.get(name, {}).items():
        group, _, field = key.partition(".")
        if field not in {each.name for each in fields(getattr(config, group))}:
            raise SystemExit(f"SETTINGS[{name!r}]: unknown key {key}")
        setattr(getattr(config, group), field, value)
    config.data.dataset, config.data.root, config.data.num_workers = "ImageFolder", str(data), 1
    config.hardware.num_threads = 1
    log = config.log
    log.folder, log.every_steps, log.eval_every, log.checkpoint_every = str(runs), 5, 0, 0
    log.knn_samples, log.report, log.progress, log.level = 0, False, False, "warning"
    return config


def num_views(data: Any) -> int:
    """Return the number of views of a data configuration."""
    if isinstance(data.views, str):
        return len(views(data.views))
    presets = (each for each in data.views if "preset" in each)
    return len(data.views) + sum(len(views(each["preset"], num_local=each.get("num_local"))) - 1 for each in presets)


def untrained(config: Config) -> str:
    """Return the name of the untrained encoder with the architecture of a method."""
    model: Any = config.model
    if model.backbone.startswith("vit"):
        return MEAN_VIT if model.backbone_options.get("pool") == "mean" else VIT
    puzzle: Any = method_class(model.name)
    return LARGE_RESNET if puzzle.puzzle_share else RESNET


def use_backbone(config: Config, name: str) -> None:
    """Set a backbone of BACKBONES, and the size of the views; local views of a recipe keep their share of it."""
    config.model.backbone, config.model.backbone_options, config.data.size = BACKBONES[name]


class Timed(Exception):
    """Ends the run whose steps are timed."""


def train(name: str, config: Config, steps: int, timed: bool = False) -> tuple[BaseModel, list[float]]:
    """Train for a number of optimizer steps; return the model, and the processor's time at the start and after each step.

    ``timed``: only to time the steps; the run ends without an evaluation.
    """
    kind: Any = method_class(name)
    hook, times = kind.after_train_step, []

    def after_train_step(model: BaseModel) -> None:
        hook(model)
        times.append(time.process_time())
        if timed and len(times) > steps:
            raise Timed

    per_epoch = 10 * IMAGES["train"] // config.optim.batch_size
    config.optim.epochs = math.ceil(steps / per_epoch)
    config.optim.max_steps = round(steps / config.optim.epochs)
    config.optim.warmup_epochs = 0.1 * config.optim.epochs
    config.log.run = f"{name}-{'timed' if timed else 'trained'}"
    kind.after_train_step = after_train_step
    model = kind(config)
    times.append(time.process_time())
    with contextlib.suppress(Timed):
        model.fit()
    kind.after_train_step = hook
    return model, times


def train_method(name: str, seconds: float, data: Path) -> dict[str, Any]:
    """Train a method and return its row."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as runs:
        calibration = train(name, small_config(name, data, Path(runs)), 14, timed=True)[1]
        cost = statistics.median(after - before for before, after in pairwise(calibration[5:]))
        config = small_config(name, data, Path(runs))
        model, times = train(name, config, max(10, round(seconds / cost)))
        run = model.run
        losses = [
            json.loads(line)["train/loss"]
            for line in run.folder.metrics.read_text().splitlines()
            if "train/loss" in line
        ]
        steps = len(times) - 1
        encoder = untrained(config)
        result = {
            "backbone": encoder,
            "seconds": times[-1] - times[1] + cost,
            "steps": steps,
            "images_times_views": steps * config.optim.batch_size * num_views(config.data),
            "loss": [statistics.mean(losses[:3]), statistics.mean(losses[-3:])],
            **evaluate(model, lambda x: model.backbone(x)),
        }
        if issubclass(method_class(name), MaskedImageModel):
            result["fine_tuned"] = fine_tuned(data, Path(runs), encoder, str(run.folder.path))
    return result


def evaluate(model: BaseModel, features: Any) -> dict[str, Any]:
    """Return the test images that kNN (k = 20) and the linear probe get right, and the measures of collapse."""

    def numbers(x: Tensor) -> Tensor:
        with model.run.precision.autocast():
            return features(x).float()

    loaders = model.run.loaders
    train, train_labels = extract(model, numbers, loaders.reference, 500)
    test, labels = extract(model, numbers, next(iter(loaders.evaluation.values())), 500)
    if not bool(torch.isfinite(train).all()):
        return {"error": "the features are not finite"}
    hits = {
        "knn": knn(train, train_labels, test).argmax(1) == labels,
        "linear": linear_probe(train, train_labels, test, labels).scores.argmax(1) == labels,
    }
    packed = {each: hex(int("1" + "".join("01"[hit] for hit in found.tolist()), 2)) for each, found in hits.items()}
    return packed | {"rankme": rankme(test), "std": spread(test), "width": test.shape[1]}


def fine_tuned(data: Path, runs: Path, encoder: str, init_from: str | None) -> float:
    """Return the test accuracy of the small ViT, trained with 100 labels of each class from given or from new weights."""
    config = small_config("supervised", data, runs)
    config.model = SupervisedConfig("supervised", init_from=init_from)
    use_backbone(config, encoder)
    config.data.per_class = 100
    optim = config.optim
    optim.lr, optim.weight_decay, optim.batch_size, optim.epochs, optim.warmup_epochs = 1e-3, 0.05, 50, 10, 1.0
    config.log.run = f"fine-tuned-{bool(init_from)}"
    return next(value for key, value in Supervised(config).fit().items() if key.endswith("/accuracy"))


def evaluate_reference(name: str, data: Path) -> dict[str, Any]:
    """Return the row of an untrained encoder, or of raw pixels."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as runs:
        config = small_config("supervised", data, Path(runs))
        config.optim.epochs, config.log.run = 0, "untrained"
        use_backbone(config, name if name in BACKBONES else VIT)
        model = Supervised(config)
        model.fit()
        torch.manual_seed(0)
        backbone = build_backbone(config.model.backbone, model.image_shape, **config.model.backbone_options).eval()
        result = evaluate(model, backbone if name in BACKBONES else lambda x: x.flatten(1))
        if name in (VIT, MEAN_VIT):
            result["fine_tuned"] = fine_tuned(data, Path(runs), name, None)
    return result
