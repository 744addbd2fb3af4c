"""A leaderboard of all methods at an equal budget of seconds on CIFAR-10, with the spread of three seeds for the best.

    python3 runs/bench/leaderboard.py time  --archive ../shared/data/cifar10.tar.gz --out leaderboard   # 20 minutes
    python3 runs/bench/leaderboard.py train --archive ../shared/data/cifar10.tar.gz --out leaderboard   # 14 hours
    python3 runs/bench/leaderboard.py train --archive ../shared/data/cifar10.tar.gz --out leaderboard --methods vicreg,dino
    python3 runs/bench/leaderboard.py train --archive ../shared/data/cifar10.tar.gz --out leaderboard --workers 2 --threads 1
    python3 runs/bench/leaderboard.py tune  --archive ../shared/data/cifar10.tar.gz --out leaderboard   # 6 hours
    python3 runs/bench/leaderboard.py print                                                             # both tables
    python3 runs/bench/leaderboard.py draw                                                              # leaderboard.png
    ssl-eval report leaderboard                                                                         # the page

All methods share one configuration: resnet9 of width 16 at 32 pixels, or a ViT of width 96 and depth 4 where the method needs
one; AdamW at 1e-3 with 10 % warm-up and a cosine; 512 views a step. What differs is what the papers differ in: loss, heads (at
most 512 wide), views (at most eight), masks, teachers. A teacher's momentum is at most 1 - 5 / steps, so that it follows a run
of this length, and a queue holds at most a quarter of the samples that the run sees.

The budget is wall time of training steps, data loading included, and of the pass over all images that some methods make before
the first step (DeepCluster v2, PIRL, SMoG). ``time`` measures both, and needs the machine for itself. A run is then as many
steps as the budget has; it may be made beside other work and on another machine, and be killed and resumed. Decoding,
compilation and the evaluation at the end are not in the budget. ``--workers`` makes several rows at the same time. The numbers
are those of the last epoch: kNN with k = 20 and the linear probe, 50,000 training and 10,000 test images.

``tune`` trains the best methods with other settings, a fifth of the steps each, on nine tenths of the training images, and
takes the setting with the best kNN accuracy on the others; the test images play no part. With it the method is trained once
more at the whole budget. Steps, rows and trials are kept in ``leaderboard.json`` beside this script; what it has is not
computed again. The images are unpacked into ``<out>-images``.
"""

import argparse
import json
import platform
import statistics
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from importlib.metadata import version
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from threading import Lock
from typing import Any

from leaderboard_figure import draw
from leaderboard_row import REFERENCES, Setting, measured_times, trained_row, unpack, validation_accuracy
from methods_row import reduced_recipe
from process_timing import processors

from ssl_core.methods import METHODS

DEFAULT = Setting()
TRIALS = [*(Setting(lr=lr) for lr in (5e-4, 1e-3, 2e-3, 4e-3)), *(Setting(lr, 256) for lr in (1e-3, 2e-3))]
TRIAL_SHARE = 0.2  # of the steps of a whole run
SEEDS, BEST = 3, 10  # seeds of the best methods; the others have one


class Leaderboard:
    """Steps, rows and trials of a leaderboard, computed where they are missing and kept in a file.

    Parameters
    ----------
    file : Path
        The results, JSON.
    out : Path
        Folder of the runs.
    minutes : float
        Of training for each row.
    threads : int, default=2
        Of the training of a row.
    """

    def __init__(self, file: Path, out: Path, minutes: float, threads: int = 2) -> None:
        self.file, self.out, self.data, self.threads = file, out, out.with_name(f"{out.name}-images"), threads
        self.lock = Lock()
        self.results: dict[str, Any] = {"minutes": minutes, "steps": {}, "rows": {}, "trials": {}, "tuned": {}}
        if file.exists():
            self.results = json.loads(file.read_text())
        if self.results["minutes"] != minutes:
            raise SystemExit(f"--minutes {minutes:g}: {file} has rows of {self.results['minutes']:g} minutes")

    def keep(self, part: str, key: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return a result; compute it in a process of its own if it is missing, and keep it. None if that fails."""
        if key not in self.results[part]:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                try:
                    found = pool.submit(function, *arguments).result()
                except Exception:
                    traceback.print_exc()
                    print(f"{key} failed", flush=True)
                    return None
            with self.lock:
                self.results[part][key] = found
                text = json.dumps(self.results, indent=1, sort_keys=True) + "\n"
                temporary = self.file.with_suffix(".partial")
                temporary.write_text(text)
                temporary.replace(self.file)
            print(part, key, self.results[part][key], flush=True)
        return self.results[part][key]

    def steps(self, name: str, setting: Setting = DEFAULT) -> int:
        """Return the steps of a whole run; measure a step if that was not done."""
        found = self.keep("steps", f"{name}, {setting.views_per_step}", timed, name, setting, self.data / "cifar10")
        if not found:
            return 0
        return max(20, round((60 * self.results["minutes"] - found.get("pass_seconds", 0.0)) / found["seconds"]))

    def train(self, name: str, seed: int) -> None:
        """Train and evaluate one row."""
        run, data = self.out / f"{name}-seed{seed}", self.data / "cifar10"
        self.keep("rows", run.name, trained_row, name, seed, DEFAULT, self.steps(name), data, run, self.threads)

    def tune(self, name: str) -> None:
        """Choose the setting of a method on the validation split and train one row with it."""
        for setting in TRIALS:
            steps, key = round(TRIAL_SHARE * self.steps(name, setting)), f"{name}, {setting}"
            run = self.out.with_name(f"{self.out.name}-trials") / key.replace(", ", "_").replace(" ", "_")
            data = self.data / "validation"
            self.keep("trials", key, validation_accuracy, name, setting, steps, data, run, self.threads)
        best, run, data = self.best_setting(name), self.out / f"{name}-tuned", self.data / "cifar10"
        self.keep("tuned", name, trained_row, name, 0, best, self.steps(name, best), data, run, self.threads)

    def best_setting(self, name: str) -> Setting:
        """Return the setting with the best accuracy on the validation split; a trial that failed has none."""
        return max(TRIALS, key=lambda setting: self.results["trials"].get(f"{name}, {setting}", 0.0))

    @property
    def ranking(self) -> list[str]:
        """The methods by the kNN accuracy of seed 0, the best first; the supervised row is not ranked."""
        first = {
            key[: -len("-seed0")]: row["knn_20"] for key, row in self.results["rows"].items() if key.endswith("-seed0")
        }
        return sorted(first.keys() - {"supervised"}, key=lambda name: -first[name])

    def table(self) -> list[tuple[str, ...]]:
        """Return references, then the supervised row, then the methods by kNN."""
        rows = self.results["rows"]
        lines = [("", "kNN-20", "linear", "seeds", "steps", "thousand views", "backbone")]
        for name, backbone in REFERENCES.items():
            for reference, cells in rows.get(f"{name}-seed0", {"references": {}})["references"].items():
                if reference != "trained encoder" and (reference, backbone) != ("raw pixels", "ViT"):
                    architecture = "" if reference == "raw pixels" else backbone
                    lines.append((reference, f"{cells[0]:.1f}", f"{cells[1]:.1f}", "", "", "", architecture))
        for name in [*(["supervised"] if "supervised-seed0" in rows else []), *self.ranking]:
            own = [row for key, row in sorted(rows.items()) if key.rpartition("-seed")[0] == name]
            cells = [spread([row[column] for row in own]) for column in ("knn_20", "linear")]
            views = f"{own[0]['thousand_views']:,}"
            backbone = "ViT" if reduced_recipe(name).model.backbone.startswith("vit") else "resnet9"
            lines.append((name, *cells, str(len(own)), f"{self.steps(name):,}", views, backbone))
        return lines

    def tuned_table(self) -> list[tuple[str, ...]]:
        """Return the tuned methods by kNN."""
        lines = [("", "kNN-20", "linear", "kNN-20 before", "chosen on the validation split")]
        for name, row in sorted(self.results["tuned"].items(), key=lambda each: -each[1]["knn_20"]):
            before = self.results["rows"][f"{name}-seed0"]["knn_20"]
            cells = [f"{value:.1f}" for value in (row["knn_20"], row["linear"], before)]
            lines.append((name, *cells, str(self.best_setting(name))))
        return lines


def timed(name: str, setting: Setting, data: Path) -> dict[str, Any]:
    """Return the seconds of a step and of a pass before the first, and where and when they were measured."""
    step, images = measured_times(name, setting, data)
    found = {"seconds": round(step, 4), "processor": processors(), "date": time.strftime("%Y-%m-%d")}
    return found | ({"pass_seconds": round(images, 1)} if images else {})


def spread(values: list[float]) -> str:
    """Return the mean, with the sample deviation over seeds where there are several."""
    text = f"{statistics.mean(values):.1f}"
    return f"{text} ± {statistics.stdev(values):.1f}" if len(values) > 1 else text


def restructured(lines: list[tuple[str, ...]]) -> str:
    """Return a table of reStructuredText; the first line is the head."""
    lines = [(line[0] or "..", *line[1:]) for line in lines]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rule = "  ".join("=" * width for width in widths)
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
    return "\n".join([rule, text[0], rule, *text[1:], rule])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("time", "train", "tune", "print", "draw"))
    parser.add_argument("--archive", type=Path, help="the images of CIFAR-10; not needed to print and draw")
    parser.add_argument("--out", type=Path, default=Path("leaderboard"), help="folder of the runs")
    parser.add_argument("--results", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--minutes", type=float, default=10.0, help="of training for each row")
    parser.add_argument("--workers", type=int, default=1, help="rows at the same time; not for time")
    parser.add_argument("--threads", type=int, default=2, help="of the training of a row")
    parser.add_argument("--methods", default="", help="with commas; default: all")
    arguments = parser.parse_args()
    names = arguments.methods.split(",") if arguments.methods else [name for name in METHODS if name != "baseline"]
    if unknown := set(names) - set(METHODS):
        parser.error(f"unknown methods: {', '.join(sorted(unknown))}")
    board = Leaderboard(arguments.results, arguments.out.resolve(), arguments.minutes, arguments.threads)
    if arguments.what == "draw":
        return draw(board.table(), arguments.results.with_suffix(".png"))
    if arguments.what != "print":
        if arguments.archive is None:
            parser.error(f"{arguments.what} needs --archive")
        board.out.mkdir(parents=True, exist_ok=True)
        board.data.mkdir(exist_ok=True)
        unpack(arguments.archive, board.data)
    if arguments.what == "time":
        for name in names:
            board.steps(name)
    with ThreadPoolExecutor(arguments.workers) as pool:
        if arguments.what == "train":
            for seed in range(SEEDS):
                chosen = names if seed == 0 else [each for each in board.ranking[:BEST] if each in names]
                list(pool.map(board.train, chosen, repeat(seed)))
        if arguments.what == "tune":
            list(pool.map(board.tune, [each for each in board.ranking[:BEST] if each in names]))
    versions = f"Python {platform.python_version()}, torch {version('torch')}, numba {version('numba')}"
    print(
        f"{time.strftime('%Y-%m-%d')}, {versions}, {arguments.minutes:g} minutes a row\n\n{restructured(board.table())}"
    )
    if board.results["tuned"]:
        print(f"\n{restructured(board.tuned_table())}")


if __name__ == "__main__":
    main()
