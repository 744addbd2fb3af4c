"""A leaderboard of all methods at an equal budget of seconds on CIFAR-10, with the spread of three seeds for the best.

    python3 runs/bench/leaderboard.py ../shared/data/cifar10.tar.gz --out leaderboard        # again: it resumes
    python3 runs/bench/leaderboard.py ../shared/data/cifar10.tar.gz --out leaderboard --methods vicreg,dino
    python3 runs/bench/leaderboard.py --out leaderboard                                      # print the table of what is there
    ssl-eval report leaderboard                                                              # the page

Every row is a run folder ``leaderboard/<method>-seed<n>``. All methods share one configuration: resnet9 of width 16 at 32
pixels, or a ViT of width 96 and depth 4 where the method needs one; AdamW at 1e-3 with 10 % warm-up and a cosine; 512 views a
step. What differs is what the papers differ in: loss, heads (at most 512 wide), views (at most eight), masks, teachers. A
teacher's momentum is at most 1 - 5 / steps, so that it follows a run of this length, and a queue holds at most a quarter of the
samples that the run sees.

The budget is wall time of training steps, data loading included: eight steps are timed first (``steps.json``, kept, so that
a killed run resumes with the same schedule), and the run is as long as the budget allows. Decoding, compilation and the
evaluation at the end are not in it. Give the machine to this script alone. The numbers are those of the last epoch: kNN with
k = 20 and the linear probe, 50,000 training and 10,000 test images. The images are unpacked into ``leaderboard-images``.
"""

import argparse
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
from dataclasses import replace
from importlib.metadata import version
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from methods_row import Timed, num_views, reduced_recipe
from process_timing import processors

from ssl_core import Config
from ssl_core.evaluation.evaluate_checkpoint import evaluate_checkpoint
from ssl_core.methods import METHODS, method_class
from ssl_core.run.folder import RunFolder
from ssl_core.training.fit_and_report import fit_and_report
from ssl_eval import Protocol

TIMED_STEPS = 8  # the first three are left out
VIEWS_PER_STEP, MIN_BATCH, MAX_BATCH = 512, 64, 256
LEARNING_RATE = 1e-3
REFERENCES = {
    "supervised": "resnet9",
    "mae": "ViT",
}  # rows whose final report has untrained encoder and raw pixels as well
PROTOCOL = Protocol("leaderboard", knn=[20], few=[], label_free=False, map_samples=0, pictures=0)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the images, unless they are there."""
    folder.mkdir(exist_ok=True)
    if not (folder / "complete").exists():
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        (folder / "complete").touch()


def configuration(name: str, seed: int, data: Path, out: Path) -> Config:
    """Return the configuration that all methods share, with what is the method's own."""
    config = reduced_recipe(name)
    config.data.dataset, config.data.root, config.data.size = "ImageFolder", str(data), 32
    optim, views = config.optim, num_views(config.data)
    optim.lr, optim.batch_size = LEARNING_RATE, min(MAX_BATCH, max(MIN_BATCH, VIEWS_PER_STEP // views))
    config.hardware.seed, config.hardware.num_threads = seed, 2
    log = config.log
    log.folder, log.run, log.eval_every, log.checkpoint_every_minutes = str(out), f"{name}-seed{seed}", 0, 1
    log.knn_samples, log.report, log.progress, log.level = 50_000, name in REFERENCES and seed == 0, False, "warning"
    return config


def for_steps(config: Config, steps: int, per_epoch: int) -> None:
    """Set the length of a run, and what depends on it: warm-up, momentum of a teacher, length of a queue."""
    optim, model = config.optim, config.model
    optim.epochs = max(1, math.ceil(steps / per_epoch))
    optim.max_steps = max(1, round(steps / optim.epochs))
    optim.warmup_epochs = 0.1 * optim.epochs
    values: dict[str, Any] = {}
    if hasattr(model, "momentum"):
        values["momentum"] = min(model.momentum, max(0.5, 1 - 5 / steps))
    if getattr(model, "queue_size", None):
        values["queue_size"] = min(model.queue_size, max(optim.batch_size, steps * optim.batch_size // 4))
    config.model = replace(model, **values)


def seconds_per_step(name: str, data: Path) -> float:
    """Return the median time of a training step, loading included."""
    kind: Any = method_class(name)
    hook, times = kind.after_train_step, []

    def after_train_step(model: Any) -> None:
        hook(model)
        times.append(time.perf_counter())
        if len(times) > TIMED_STEPS:
            raise Timed

    with tempfile.TemporaryDirectory() as folder:
        config = configuration(name, 0, data, Path(folder))
        config.optim.epochs, config.optim.warmup_epochs, config.log.report = 1, 0.0, False
        kind.after_train_step = after_train_step
        try:
            kind(config).fit()
        except Timed:
            pass
        finally:
            kind.after_train_step = hook
    return statistics.median(after - before for before, after in pairwise(times[3:]))


def train(name: str, seed: int, minutes: float, data: Path, out: Path) -> None:
    """Train one row to the end, or resume it, and evaluate it."""
    known = json.loads((out / "steps.json").read_text()) if (out / "steps.json").exists() else {}
    if name not in known:
        known[name] = max(20, round(60 * minutes / seconds_per_step(name, data)))
        (out / "steps.json").write_text(json.dumps(known, indent=1))
    config = configuration(name, seed, data, out)
    for_steps(config, known[name], 50_000 // config.optim.batch_size)
    fit_and_report(method_class(name)(config))
    evaluate_checkpoint(RunFolder.of(config), PROTOCOL, view_samples=0)


def in_process(*arguments: Any) -> str | None:
    """Train a row in a process of its own; return the error of a row that failed."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            pool.submit(train, *arguments).result()
        except Exception as error:
            traceback.print_exc()
            return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


def finished(out: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """Return metrics, number of steps and table of the finished rows by method and seed."""
    found = {}
    for file in sorted(out.glob("*-seed*/eval/leaderboard.json")):
        folder, evaluation = file.parents[1], json.loads(file.read_text())
        name, _, seed = folder.name.rpartition("-seed")
        table = folder / "table.json"
        rows = json.loads(table.read_text())["rows"] if table.exists() else []
        cells = [100 * evaluation["metrics"][metric] for metric in ("knn_20", "linear")]
        found[name, int(seed)] = {
            "cells": cells,
            "steps": evaluation["step"],
            "references": {row[0]: row[1:3] for row in rows},
        }
    return found


def ranking(rows: dict[tuple[str, int], dict[str, Any]]) -> list[str]:
    """Return the methods by the kNN accuracy of seed 0, the best first; the supervised row is not ranked."""
    first = {name: row["cells"][0] for (name, seed), row in rows.items() if seed == 0 and name != "supervised"}
    return sorted(first, key=lambda name: -first[name])


def table(rows: dict[tuple[str, int], dict[str, Any]]) -> str:
    """Return the table of reStructuredText: references, then methods by kNN."""
    lines = [("..", "kNN-20", "linear", "n", "thousand views", "backbone")]
    for name, backbone in REFERENCES.items():
        for reference, cells in rows.get((name, 0), {"references": {}})["references"].items():
            if reference != "trained encoder" and (reference, backbone) != ("raw pixels", "ViT"):
                lines.append((reference, f"{cells[0]:.1f}", f"{cells[1]:.1f}", "", "", backbone))
    order = [name for name in ("supervised",) if (name, 0) in rows] + ranking(rows)
    for name in order:
        own = [row for (method, _), row in sorted(rows.items()) if method == name]
        cells = [spread([row["cells"][column] for row in own]) for column in (0, 1)]
        config = configuration(name, 0, Path(), Path())
        views = own[0]["steps"] * config.optim.batch_size * num_views(config.data) / 1000
        lines.append((name, *cells, str(len(own)), f"{views:,.0f}", backbone_of(name)))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rule = "  ".join("=" * width for width in widths)
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
    return "\n".join([rule, text[0], rule, *text[1:], rule])


def spread(values: list[float]) -> str:
    """Return the mean, with the sample deviation over seeds where there are several."""
    text = f"{statistics.mean(values):.1f}"
    return f"{text} ± {statistics.stdev(values):.1f}" if len(values) > 1 else text


def backbone_of(name: str) -> str:
    """Return the name of the backbone of a method."""
    model = reduced_recipe(name).model
    return "ViT" if model.backbone.startswith("vit") else "resnet9"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", nargs="?", type=Path, help="without it the table of --out is printed")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training for each row")
    parser.add_argument("--methods", default="", help="with commas; default: all")
    parser.add_argument("--best", type=int, default=10, help="methods that get all seeds")
    parser.add_argument("--seeds", type=int, default=3, help="of the best methods; the others have one")
    arguments = parser.parse_args()
    names = arguments.methods.split(",") if arguments.methods else [name for name in METHODS if name != "baseline"]
    if unknown := set(names) - set(METHODS):
        parser.error(f"unknown methods: {', '.join(sorted(unknown))}")
    out, errors = arguments.out.resolve(), {}
    out.mkdir(parents=True, exist_ok=True)
    if arguments.archive is not None:
        data = out.with_name(f"{out.name}-images")
        unpack(arguments.archive, data)
        for seed in range(arguments.seeds):
            for name in (
                names if seed == 0 else [each for each in ranking(finished(out)) if each in names][: arguments.best]
            ):
                if (name, seed) not in finished(out):
                    error = in_process(name, seed, arguments.minutes, data / "cifar10", out)
                    errors |= {name: error} if error else {}
    versions = ", ".join(f"{each} {version(each)}" for each in ("torch", "numba"))
    print(f"python3 {shlex.join(sys.argv)}\n{time.strftime('%Y-%m-%d')}, {processors()}")
    print(
        f"Python {platform.python_version()}, {versions}, {arguments.minutes:g} minutes a row\n\n{table(finished(out))}"
    )
    for name, error in errors.items():
        print(f"{name} failed: {error}")


if __name__ == "__main__":
    main()
