"""The search behind the recipe of the default run: settings compared on held-out training images, never on test images.

    python3 runs/bench/default_run.py --out search.jsonl                     # every setting of SETTINGS, one after the other
    python3 runs/bench/default_run.py --out search.jsonl --only digits       # some of them
    python3 runs/bench/default_run.py --out search.jsonl --show              # the table of what is there

Fold f holds out every fifth training image of each class, beginning with the f-th; a setting is trained on the others, with
seed f. Each line of the file is one setting with one fold; what is there is not computed again.
"""

import argparse
import json
import logging
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssl_core import Config, HardwareConfig, LogConfig, OptimConfig
from ssl_core.evaluation.features import collect_features
from ssl_core.evaluation.final_report import pixels
from ssl_core.methods import method_class
from ssl_core.training.session import RunSession
from ssl_data import DataConfig
from ssl_data.datasets import open_dataset
from ssl_eval import Features, accuracy, few_shot, knn, linear_probe

FOLDS = 5
FASHION = 5000  # images of Fashion-MNIST: an embedded sample would have about as many
BASE: dict[str, Any] = {  # simclr_digits
    "dataset": "digits",
    "view": {"preset": "digits"},
    "model": {"backbone": "resnet9", "backbone_options": {"width": 16}, "projector": [256, 64], "temperature": 0.2},
    "optim": {"optimizer": "AdamW", "lr": 2e-3, "weight_decay": 1e-4, "epochs": 30, "warmup_epochs": 2},
}
CROPS = {
    "preset": "digits", "rotation": 0.0, "translate": 0.0, "zoom": [1.0, 1.0], "shear": 0.0, "crop_scale": [0.4, 1.0],
    "crop_ratio": [3 / 4, 4 / 3], "flip": 0.5,
}  # fmt: skip
AFFINE = {"dataset": "affine_digits"}
WEAK = {"preset": "digits", "rotation": 10.0, "translate": 0.06, "zoom": [0.9, 1.1], "shear": 10.0, "brightness": 0.3}
WEAKEST = WEAK | {"rotation": 5.0, "translate": 0.03, "zoom": [0.95, 1.05], "shear": 5.0, "noise": 0.1}
NARROW = {"backbone_options": {"width": 8}}
STRONG = {"preset": "digits", "rotation": 30.0, "translate": 0.25, "zoom": [0.7, 1.4], "shear": 20.0}

#: name -> changes to BASE; mappings are merged key by key, except the view
SETTINGS: dict[str, dict[str, Any]] = {
    "digits": {"optim": {"epochs": 60}},
    "digits, weak views": {"view": WEAK},
    "digits, width 8": {"model": NARROW},
    "digits, width 8, weak views": {"model": NARROW, "view": WEAK},
    "digits, width 8, weakest views": {"model": NARROW, "view": WEAKEST},
    "digits, width 8, weak views, temperature 0.1": {"model": NARROW | {"temperature": 0.1}, "view": WEAK},
    "digits, width 8, weak views, temperature 0.5": {"model": NARROW | {"temperature": 0.5}, "view": WEAK},
    "digits, width 8, weak views, 90 epochs": {"model": NARROW, "view": WEAK, "optim": {"epochs": 90}},
    "fashion, crops and flips": {"dataset": "FashionMNIST", "view": CROPS, "optim": {"epochs": 10}},
    "affine": AFFINE,
    "affine, translate 0.2": AFFINE | {"view": {"preset": "digits", "translate": 0.2}},
    "affine, strong views": AFFINE | {"view": STRONG},
    "affine, temperature 0.1": AFFINE | {"model": {"temperature": 0.1}},
    "affine, temperature 0.5": AFFINE | {"model": {"temperature": 0.5}},
}


def merged(name: str) -> dict[str, Any]:
    """Return a whole setting by its name."""
    setting = dict(BASE)
    for key, value in SETTINGS[name].items():
        setting[key] = {**setting[key], **value} if key in ("model", "optim") else value
    return setting


def split(dataset: str, root: str, fold: int) -> tuple[Any, Any]:
    """Return the training images and labels of a data set without a fold, and those of the fold."""
    train = open_dataset(dataset, root, "", download=False).train
    images, labels = train.images, np.asarray(train.labels)
    if dataset == "FashionMNIST":
        images, labels = images[:FASHION], labels[:FASHION]
    held = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        held[np.flatnonzero(labels == label)[fold::FOLDS]] = True
    return (images[~held], labels[~held]), (images[held], labels[held])


def evaluate(encoder: Any, model: Any, fold: int) -> list[float]:
    """Return kNN-20, the linear probe and the linear probe of ten labels a class, in percent, as in the table of a run."""
    test = next(iter(model.run.loaders.evaluation.values()))
    train = collect_features(model.run.reference_sample.batches(), encoder, model.run.distributed)
    features = Features(*train, *collect_features(test, encoder, model.run.distributed))
    scores = knn(features, k=20, num_classes=model.num_classes)
    cells = [
        accuracy(scores, features.test_labels, topk=(1,))[0],
        linear_probe(features).accuracy,
        few_shot(features, labels_per_class=10, draws=5, seed=fold).mean,
    ]
    return [round(100 * float(cell), 2) for cell in cells]


def run(name: str, root: str, fold: int, baselines: bool) -> dict[str, Any]:
    """Train one setting with one fold held out; return its line of the file."""
    setting = merged(name)
    method = method_class("simclr")
    train, test = split(setting["dataset"], root, fold)
    with tempfile.TemporaryDirectory() as folder:
        config = Config(
            data=DataConfig.of(train, test, views=[setting["view"]], size=16, num_workers=1),
            model=method.config_class("simclr", **setting["model"]),
            optim=OptimConfig(**setting["optim"]),
            hardware=HardwareConfig(seed=fold, num_threads=1),
            log=LogConfig(folder=folder, run="run", eval_every=0, report=False, progress=False, level="error"),
        )
        model, fresh = method(config), method(config)
        begin = time.process_time()
        with RunSession(config) as session, torch.no_grad():
            with torch.enable_grad():
                model.fit_in(session)
            seconds = time.process_time() - begin
            model.eval()
            line = {"name": name, "fold": fold, "cpu_seconds": round(seconds, 1), "setting": SETTINGS[name]}
            line["trained"] = evaluate(model.features, model, fold)
            if baselines:
                fresh.use(model.run)
                fresh.build()
                fresh.eval()
                line |= {"untrained": evaluate(fresh.features, model, fold), "pixels": evaluate(pixels, model, fold)}
    return line


def show(lines: list[dict[str, Any]]) -> None:
    """Print mean and standard deviation over the folds of each setting."""
    print(f"{'':46s} {'':10s}     {'kNN-20':15s}{'linear':15s}{'10 labels':15s}")
    for name in dict.fromkeys(line["name"] for line in lines):
        own = [line for line in lines if line["name"] == name]
        seconds = statistics.mean(line["cpu_seconds"] for line in own)
        for row in ("trained", "untrained", "pixels"):
            values = [line[row] for line in own if row in line]
            spreads = [statistics.stdev(column) if len(values) > 1 else 0.0 for column in zip(*values)]
            cells = [f"{statistics.mean(column):5.1f} ± {each:3.1f}" for column, each in zip(zip(*values), spreads)]
            if cells:
                print(f"{name:46s} {row:10s} n={len(values)} {'    '.join(cells)}   CPU {seconds:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=list(SETTINGS), choices=list(SETTINGS), metavar="NAME")
    parser.add_argument("--root", default="data", help="folder of FashionMNIST")
    parser.add_argument("--folds", type=int, nargs="+", default=[0])
    parser.add_argument("--baselines", action="store_true", help="the other two rows of the table as well")
    parser.add_argument("--show", action="store_true")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    lines = [json.loads(line) for line in arguments.out.read_text().splitlines()] if arguments.out.exists() else []
    done = {(line["name"], line["fold"]) for line in lines}
    for name in [] if arguments.show else arguments.only:
        for fold in arguments.folds:
            if (name, fold) not in done:
                lines.append(run(name, arguments.root, fold, arguments.baselines))
                with arguments.out.open("a") as file:
                    file.write(json.dumps(lines[-1]) + "\n")
                show(lines[-1:])
    show(lines)


if __name__ == "__main__":
    main()
