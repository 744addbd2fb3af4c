"""Every method at an equal budget of processor seconds on CIFAR-10: does it learn?

    python3 runs/bench/methods.py ../shared/data/cifar10.tar.gz --seconds 60 --out methods.json
    python3 runs/bench/methods.py ../shared/data/cifar10.tar.gz --methods byol,mae --out methods.json    # these rows again
    python3 runs/bench/methods.py --out methods.json                                                    # print the table

The archive holds ``cifar10/{train,test}/<class>/*.jpg``; 1,000 training and 500 test images of each class are used. A method
is trained with its recipe ``<method>_cifar10``, its views among them, reduced to what a minute allows: a ResNet-9 of width 16
at 16 pixels or a ViT of width 96 and depth 4 at 32, narrow heads, short queues, a fast teacher, AdamW (``SHRUNK`` and
``SETTINGS``). A few steps are timed first, then the run is as long as the budget, so that schedules reach their end. The budget
counts processor seconds of one thread, data loading included: other work on the machine changes it little.

Each row is compared with the same encoder before training on the same test images: z is the difference of the accuracies over
its standard error (paired). Masked image models are also fine-tuned on 100 labels of each class, the untrained ViT likewise.
"""

import argparse
import contextlib
import json
import math
import platform
import shlex
import statistics
import sys
import tarfile
import tempfile
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from functools import cache
from importlib.metadata import version
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # before the forks: it takes five seconds
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from process_timing import processors
from torch import Tensor

import ssl_data.datasets
from ssl_core import BaseModel, Config
from ssl_core.backbones import build_backbone
from ssl_core.diagnostics.collapse import spread
from ssl_core.evaluation.features import extract
from ssl_core.methods import METHODS, method_class
from ssl_core.methods.masked_image import MaskedImageModel
from ssl_core.methods.supervised import Supervised, SupervisedConfig
from ssl_data import views
from ssl_eval import knn, linear_probe, rankme
from ssl_launch.hydra_app.build_config import build_config

RUNS = Path(__file__).parent.parent
IMAGES = {"train": 1000, "test": 500}  # of each class
BACKBONES: dict[str, tuple[str, dict[str, int], int]] = {  # name -> name and options in ssl_core, pixels of a view
    "untrained ResNet-9": ("resnet9", {"width": 16}, 16),
    "untrained ViT": ("vit_tiny", {"patch_size": 4, "width": 96, "depth": 4, "num_heads": 3}, 32),
}
RESNET, VIT = BACKBONES
RECIPES = {"simclr": "simclr_cifar10_sgd", "supervised": "supervised_cifar10_adam", "w_mse": "wmse_cifar10"}
LARGEST = {  # values of the model above these are reduced to them
    "projector": 512, "predictor": 512, "queue_size": 4096, "num_slices": 256, "num_prototypes": 512, "num_clusters": 512,
    "num_groups": 300, "decoder_width": 96, "decoder_depth": 2, "decoder_heads": 3, "predictor_width": 96, "predictor_depth": 2,
    "predictor_heads": 3, "top_blocks": 2, "teacher_temperature": 0.04, "teacher_temperature_warmup_epochs": 0.0,
    "freeze_last_layer": 0, "freeze_prototypes_epochs": 0, "queue_start_epoch": 1,
}  # fmt: skip
MAX_VIEWS = 8  # of a list of views
# What a short run needs in place of the recipe's value; a teacher that averages over 20 steps follows a run of 200
SHRUNK = {"optimizer": "AdamW", "lr": 2e-3, "weight_decay": 1e-4, "trust_coefficient": None, "clip": False, "nesterov": False,
          "weight_decay_end": None}  # fmt: skip
SETTINGS: dict[str, dict[str, Any]] = {}  # method -> "group.key" -> value, on top of the above


def prepare(archive: Path, folder: Path) -> None:
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


def small_config(name: str, data: Path, runs: Path) -> Config:
    """Return the recipe of a method, reduced to a small model and one thread."""
    with initialize_config_dir(str((RUNS / "configs").resolve()), version_base=None):
        composed = OmegaConf.to_container(compose(RECIPES.get(name, f"{name}_cifar10")), resolve=True)
    config = build_config(composed, [])  # type: ignore[arg-type]
    model: Any = config.model
    use_backbone(config, VIT if model.backbone.startswith("vit") else RESNET)
    for key, largest in LARGEST.items():
        value = getattr(model, key, None)
        if value is not None:
            small = [min(width, largest) for width in value] if isinstance(value, list) else min(value, largest)
            setattr(model, key, small)
    if hasattr(model, "momentum"):
        model.momentum = 0.95
        model.final_momentum = 1.0 if model.final_momentum == 1 else 0.99
    for key, value in SHRUNK.items():
        setattr(config.optim, key, value)
    if isinstance(config.data.views, list):
        config.data.views = config.data.views[:MAX_VIEWS]
    config.optim.batch_size = min(128, max(32, 256 // num_views(config.data)))  # about 256 images a step
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


def row(name: str, seconds: float, data: Path) -> dict[str, Any]:
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
        result = {
            "backbone": VIT if config.model.backbone.startswith("vit") else RESNET,
            "seconds": times[-1] - times[1] + cost,
            "steps": steps,
            "images_times_views": steps * config.optim.batch_size * num_views(config.data),
            "loss": [statistics.mean(losses[:3]), statistics.mean(losses[-3:])],
            **evaluate(model, lambda x: model.backbone(x)),
        }
        if issubclass(method_class(name), MaskedImageModel):
            result["fine_tuned"] = fine_tuned(data, Path(runs), str(run.folder.path))
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


def fine_tuned(data: Path, runs: Path, init_from: str | None) -> float:
    """Return the test accuracy of the small ViT, trained with 100 labels of each class from given or from new weights."""
    config = small_config("supervised", data, runs)
    config.model = SupervisedConfig("supervised", init_from=init_from)
    use_backbone(config, VIT)
    config.data.per_class = 100
    optim = config.optim
    optim.lr, optim.weight_decay, optim.batch_size, optim.epochs, optim.warmup_epochs = 1e-3, 0.05, 50, 10, 1.0
    config.log.run = f"fine-tuned-{bool(init_from)}"
    return next(value for key, value in Supervised(config).fit().items() if key.endswith("/accuracy"))


def reference(name: str, data: Path) -> dict[str, Any]:
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
        if name == VIT:
            result["fine_tuned"] = fine_tuned(data, Path(runs), None)
    return result


def hits(row: dict[str, Any], key: str) -> Tensor:
    """Return which test images a row gets right, ``(M,) float64``."""
    return torch.tensor([float(each) for each in bin(int(row[key], 16))[3:]], dtype=torch.float64)


def compared(row: dict[str, Any], untrained: dict[str, Any] | None, key: str) -> tuple[str, float]:
    """Return an accuracy in percent with its standard error, and z against the untrained encoder."""
    found = hits(row, key)
    text = f"{100 * found.mean():.1f} ± {100 * found.std() / len(found) ** 0.5:.1f}"
    if untrained is None:
        return text, 0.0
    gain = found - hits(untrained, key)
    return text, float(gain.mean() / gain.std() * len(gain) ** 0.5)


def line(name: str, row: dict[str, Any], rows: dict[str, dict[str, Any]]) -> tuple[str, ...]:
    """Return the cells of a row."""
    if "error" in row:
        return (name, row["error"], *[""] * 8)
    untrained = rows.get(row.get("backbone", ""))
    cells, best = [], -math.inf
    for key in ("knn", "linear"):
        text, z = compared(row, untrained, key)
        cells += [text, f"{z:+.1f}" if untrained else ""]
        best = max(best, z)
    collapse = f"{row['rankme']:.0f} of {row['width']}, {row['std']:.2f}"
    tuned = f"{100 * row['fine_tuned']:.1f}" if "fine_tuned" in row else ""
    if untrained is None:
        return (name, *cells, "", "", "", collapse, tuned)
    shown = f"{row['loss'][0]:.3g} to {row['loss'][1]:.3g}"
    mark = "" if best >= 3 else " *"
    return (
        name + mark,
        *cells,
        f"{row['seconds']:.0f}",
        f"{row['images_times_views'] / 1000:.0f}",
        shown,
        collapse,
        tuned,
    )


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Return the table of reStructuredText: references first, then the methods of each backbone."""
    header = ("..", "kNN", "z", "linear", "z", "seconds", "thousand views", "loss", "rank, spread", "fine-tuned")
    order = ["raw pixels", *BACKBONES, *sorted(rows.keys() - {"raw pixels", *BACKBONES})]
    order.sort(key=lambda name: (name not in ("raw pixels", *BACKBONES), rows.get(name, {}).get("backbone") == VIT))
    lines = [header, *(line(name, rows[name], rows) for name in order if name in rows)]
    widths = [max(len(row[column]) for row in lines) for column in range(len(header))]
    rule = "  ".join("=" * width for width in widths)
    text = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in lines]
    return "\n".join([rule, text[0], rule, *text[1:], rule])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", nargs="?", type=Path, help="without it the table of --out is printed")
    parser.add_argument("--methods", default="", help="rows to make, with commas; default: all that --out has not")
    parser.add_argument("--seconds", type=float, default=60.0, help="processor seconds of training of each method")
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the rows, which are added to it")
    parser.add_argument("--data", type=Path, help="folder for the unpacked images; default: a temporary one")
    arguments = parser.parse_args()
    rows: dict[str, dict[str, Any]] = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    if arguments.archive is not None:
        chosen = arguments.methods.split(",") if arguments.methods else [*BACKBONES, "raw pixels", *METHODS]
        todo = [name for name in chosen if name != "baseline" and (arguments.methods or name not in rows)]
        with tempfile.TemporaryDirectory() as temporary:
            folder = arguments.data or Path(temporary)
            prepare(arguments.archive, folder)
            warm_up(folder / "cifar10")
            for name in todo:
                rows[name] = in_process(name, arguments.seconds, folder / "cifar10")
                arguments.out.write_text(json.dumps(rows, indent=1))
                print(*line(name, rows[name], rows), sep="  ", flush=True)
    versions = ", ".join(f"{each} {version(each)}" for each in ("torch", "numba"))
    print(f"python3 {shlex.join(sys.argv)}\n{time.strftime('%Y-%m-%d')}, {processors()}")
    print(f"Python {platform.python_version()}, {versions}\n\n{table(rows)}")


def warm_up(data: Path) -> None:
    """Decode the images and compile what makes the views: the forks find both in memory."""
    ssl_data.datasets.open_dataset = cache(ssl_data.datasets.open_dataset)
    with tempfile.TemporaryDirectory() as runs:
        loaders = small_config("simclr", data, Path(runs)).data.open(128, 0)
        for loader in (loaders.train, loaders.reference):
            for _ in loader:  # to the end: a fork must not lose a thread
                pass


def in_process(name: str, seconds: float, data: Path) -> dict[str, Any]:
    """Make a row in a process forked from this one, which has imported everything and computed nothing."""
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        try:
            if name in METHODS:
                return pool.submit(row, name, seconds, data).result()
            return pool.submit(reference, name, data).result()
        except Exception as error:
            traceback.print_exc()
            return {"error": f"{type(error).__name__}: {str(error).splitlines()[0][:100]}"}


if __name__ == "__main__":
    main()
