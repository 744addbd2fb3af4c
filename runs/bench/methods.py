"""Every method at an equal budget of processor seconds on CIFAR-10: does it learn?

    python3 runs/bench/methods.py ../shared/data/cifar10.tar.gz --seconds 60 --out methods.json
    python3 runs/bench/methods.py ../shared/data/cifar10.tar.gz --methods byol,mae --out methods.json    # these rows again
    python3 runs/bench/methods.py --out methods.json                                                    # print the table
    python3 runs/bench/methods.py --against lightly     # steps and memory: methods_against_lightly.py, and its options

The archive holds ``cifar10/{train,test}/<class>/*.jpg``; 1,000 training and 500 test images of each class are used. A method
is trained with its recipe ``<method>_cifar10``, its views among them, reduced to what a minute allows: a ResNet-9 of width 16
at 16 pixels (32 for methods that cut a view into nine patches) or a ViT of width 96 and depth 4 at 32, narrow heads, short
queues, a fast teacher, AdamW (``methods_row.py``). A few steps are timed first, then the run is as long as the budget, so that
schedules reach their end. The budget counts processor seconds of one thread, data loading included: other work on the machine
changes it little.

Each row is compared with the same encoder before training on the same test images: z is the difference of the accuracies over
its standard error (paired). Masked image models are also fine-tuned on 100 labels of each class, the untrained ViT likewise.
"""

import argparse
import json
import math
import os
import platform
import shlex
import sys
import tempfile
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from methods_row import BACKBONES, evaluate_reference, train_method, unpack_images, warm_up
from process_timing import processors
from torch import Tensor

from ssl_core.methods import METHODS


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
    references = ["raw pixels", *BACKBONES]
    order = references + sorted(rows.keys() - {*references}, key=lambda name: (rows[name].get("backbone", ""), name))
    lines = [header, *(line(name, rows[name], rows) for name in order if name in rows)]
    widths = [max(len(row[column]) for row in lines) for column in range(len(header))]
    rule = "  ".join("=" * width for width in widths)
    text = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in lines]
    return "\n".join([rule, text[0], rule, *text[1:], rule])


def main() -> None:
    if sys.argv[1:3] == ["--against", "lightly"]:  # a process of its own: this one has imported what it measures
        script = Path(__file__).with_name("methods_against_lightly.py")
        os.execv(sys.executable, [sys.executable, str(script), *sys.argv[3:]])
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
            unpack_images(arguments.archive, folder)
            warm_up(folder / "cifar10")
            for name in todo:
                rows[name] = in_process(name, arguments.seconds, folder / "cifar10")
                arguments.out.write_text(json.dumps(rows, indent=1))
                print(*line(name, rows[name], rows), sep="  ", flush=True)
    versions = ", ".join(f"{each} {version(each)}" for each in ("torch", "numba"))
    print(f"python3 {shlex.join(sys.argv)}\n{time.strftime('%Y-%m-%d')}, {processors()}")
    print(f"Python {platform.python_version()}, {versions}\n\n{table(rows)}")


def in_process(name: str, seconds: float, data: Path) -> dict[str, Any]:
    """Make a row in a process forked from this one, which has imported everything and computed nothing."""
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        try:
            if name in METHODS:
                return pool.submit(train_method, name, seconds, data).result()
            return pool.submit(evaluate_reference, name, data).result()
        except Exception as error:
            traceback.print_exc()
            return {"error": f"{type(error).__name__}: {str(error).splitlines()[0][:100]}"}


if __name__ == "__main__":
    main()
