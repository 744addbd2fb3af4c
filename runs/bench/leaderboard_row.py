"""One row of leaderboard.py: a method trained for a number of steps, and evaluated."""

import json
import math
import statistics
import tarfile
import tempfile
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from methods_row import Timed, num_views, reduced_recipe

from ssl_core import BaseModel, Config
from ssl_core.evaluation.evaluate_checkpoint import evaluate_checkpoint
from ssl_core.methods import method_class
from ssl_core.run.folder import RunFolder
from ssl_core.training.fit_and_report import fit_and_report
from ssl_eval import Protocol

TIMED_STEPS = 8  # the first three are left out
MIN_BATCH, MAX_BATCH = 32, 256
TRAIN_IMAGES, VALIDATION_IMAGES = 50_000, 5_000
REFERENCES = {
    "supervised": "resnet9",
    "mae": "ViT",
}  # rows whose final report has untrained encoder and raw pixels as well
PROTOCOL = Protocol("leaderboard", knn=[20], few=[], label_free=False, map_samples=0, pictures=0)
VALIDATION_PROTOCOL = replace(PROTOCOL, linear=False)


@dataclass(frozen=True)
class Setting:
    """What the tuning changes: the peak learning rate of AdamW and the number of views of a step."""

    lr: float = 1e-3
    views_per_step: int = 512

    def __str__(self) -> str:
        return f"lr {self.lr:g}, {self.views_per_step} views a step"


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the images, unless they are there, and link every tenth training image into a validation split."""
    folder.mkdir(exist_ok=True)
    if (folder / "complete").exists():
        return
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    for of_class in sorted((folder / "cifar10" / "train").iterdir()):
        for index, image in enumerate(sorted(of_class.iterdir())):
            link = folder / "validation" / ("train" if index % 10 else "test") / of_class.name / image.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)  # of an earlier, killed process
            link.symlink_to(image)
    (folder / "complete").touch()


def configuration(name: str, setting: Setting, data: Path, run: Path, seed: int = 0, threads: int = 2) -> Config:
    """Return the configuration that all methods share, with what is the method's own."""
    config = reduced_recipe(name)
    if name == "pirl":
        config.model = replace(config.model, patch_size=8)  # type: ignore[type-var] # resnet9 takes no smaller images
    config.data.dataset, config.data.root, config.data.size = "ImageFolder", str(data), 32
    optim, views = config.optim, num_views(config.data)
    optim.lr, optim.batch_size = setting.lr, min(MAX_BATCH, max(MIN_BATCH, setting.views_per_step // views))
    config.hardware.seed, config.hardware.num_threads = seed, threads
    log = config.log
    log.folder, log.run, log.eval_every, log.checkpoint_every_minutes = str(run.parent), run.name, 0, 1
    log.knn_samples, log.report, log.progress, log.level = TRAIN_IMAGES, False, False, "warning"
    return config


def for_steps(config: Config, steps: int, images: int = TRAIN_IMAGES) -> None:
    """Set the length of a run, and what depends on it: warm-up, momentum of a teacher, length of a queue."""
    optim, model = config.optim, config.model
    optim.epochs = max(1, math.ceil(steps / (images // optim.batch_size)))
    optim.max_steps = max(1, round(steps / optim.epochs))
    optim.warmup_epochs = 0.1 * optim.epochs
    values: dict[str, Any] = {}
    if hasattr(model, "momentum"):
        values["momentum"] = min(model.momentum, max(0.5, 1 - 5 / steps))
    if getattr(model, "queue_size", None):
        values["queue_size"] = min(model.queue_size, max(optim.batch_size, steps * optim.batch_size // 4))
    config.model = replace(model, **values)


def measured_times(name: str, setting: Setting, data: Path) -> tuple[float, float]:
    """Return the median seconds of a training step, loading included, and those of a pass over all images before the first."""
    kind: Any = method_class(name)
    train_epoch, hook, times = kind.train_epoch, kind.after_train_step, []

    def timed_epoch(model: Any) -> None:
        times.append(time.perf_counter())
        train_epoch(model)

    def after_train_step(model: Any) -> None:
        hook(model)
        times.append(time.perf_counter())
        if len(times) > TIMED_STEPS + 1:
            raise Timed

    with tempfile.TemporaryDirectory() as folder:
        config = configuration(name, setting, data, Path(folder, "run"))
        config.optim.epochs, config.optim.warmup_epochs = 1, 0.0
        kind.train_epoch, kind.after_train_step = timed_epoch, after_train_step
        try:
            kind(config).fit()
        except Timed:
            pass
        finally:
            kind.train_epoch, kind.after_train_step = train_epoch, hook
    step = statistics.median(after - before for before, after in pairwise(times[4:]))
    makes_pass = train_epoch is not BaseModel.train_epoch
    return step, times[1] - times[0] - step if makes_pass else 0.0


def trained_row(
    name: str, seed: int, setting: Setting, steps: int, data: Path, run: Path, threads: int
) -> dict[str, Any]:
    """Train one row to the end, or resume it; return its accuracies in percent on the test images, and the references."""
    config = configuration(name, setting, data, run, seed, threads)
    for_steps(config, steps)
    config.log.report = name in REFERENCES and seed == 0
    fit_and_report(method_class(name)(config))
    table = RunFolder.of(config).table_json
    return {
        "knn_20": accuracy(config, PROTOCOL, "knn_20"),
        "linear": accuracy(config, PROTOCOL, "linear"),
        "thousand_views": round(steps * config.optim.batch_size * num_views(config.data) / 1000),
        "references": references(table) if config.log.report else {},
    }


def references(table: Path) -> dict[str, list[float]]:
    """Return kNN and linear accuracy in percent of each row of a final table."""
    return {
        name: [round(100 * cell, 2) for cell in cells[:2]] for name, *cells in json.loads(table.read_text())["rows"]
    }


def validation_accuracy(name: str, setting: Setting, steps: int, data: Path, run: Path, threads: int) -> float:
    """Train on nine tenths of the training images; return the accuracy of kNN in percent on the others."""
    config = configuration(name, setting, data, run, threads=threads)
    for_steps(config, steps, TRAIN_IMAGES - VALIDATION_IMAGES)
    method_class(name)(config).fit()
    return accuracy(config, VALIDATION_PROTOCOL, "knn_20")


def accuracy(config: Config, protocol: Protocol, metric: str) -> float:
    """Return a metric of the newest checkpoint in percent; features are kept."""
    (file,) = evaluate_checkpoint(RunFolder.of(config), protocol, view_samples=0)
    return round(100 * json.loads(file.read_text())["metrics"][metric], 2)
