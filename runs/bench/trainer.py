"""What the trainer costs beside the model.

    python3 runs/bench/trainer.py                       # all parts, about six minutes on two cores
    python3 runs/bench/trainer.py steps images          # microseconds a step, samples a second; against Lightning
    python3 runs/bench/trainer.py memory checkpoints    # MiB over 200 epochs, milliseconds of a save
    python3 runs/bench/trainer.py contest --archive ../shared/data/cifar10.tar.gz    # end to end; against both peers
    python3 runs/bench/trainer.py checkpoints --large   # also of 3.6 GB: 300 million weights with Adam's moments

Peers are not dependencies (``pip install lightning lightly stable-pretraining``): contenders that are not installed are left
out. All take turns within one run, each in a process of its own. Rates are of processor time, wall time is given as well. All
parts but the contest use one thread; the contest uses both cores, and its ratios are of wall time.
"""

import argparse
import importlib.util
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import long_run
import save_cost
import small_resnet
import step_overhead
import torch
import training_contest
from process_timing import Epoch, Result, compare, processors, table

from ssl_core.hardware import has_bf16

PARTS = ("steps", "images", "memory", "checkpoints")  # without a name; "contest" needs an archive


def without_missing(contenders: dict[str, Callable[[], Epoch]]) -> dict[str, Callable[[], Epoch]]:
    """Leave Lightning out where it is not installed, and say so."""
    if importlib.util.find_spec("lightning"):
        return contenders
    print("no Lightning here (pip install lightning): its rows are missing")
    return {name: build for name, build in contenders.items() if not name.startswith("Lightning")}


def microseconds(results: dict[str, Result]) -> str:
    """Return a table: microseconds a step, and how many of them are above the loop by hand of the same precision."""
    rows = [("..", "us of the wall", "us of one core", "above the loop")]
    for name, result in results.items():
        cpu = sorted(1e6 / rate for rate in result.cpu_rates)
        bare = results["by hand, bf16" if name.endswith("bf16") else "by hand"]
        # turn by turn: what the machine does to one of the two in a turn it does to the other as well
        above = statistics.median(1e6 / ours - 1e6 / theirs for ours, theirs in zip(result.cpu_rates, bare.cpu_rates))
        spread = f"{statistics.median(cpu):,.0f} ({cpu[0]:,.0f} to {cpu[-1]:,.0f})"
        wall = f"{1e6 / statistics.median(result.rates):,.0f}"
        rows.append((name, wall, spread, "" if result is bare else f"{above:+,.0f}"))
    return columns(rows)


def memory(epochs: int) -> str:
    """Return what the memory of a run did after its first quarter."""
    mib, objects = long_run.memory_of_epochs(epochs)
    first = epochs // 4
    found, bound = long_run.slope(mib[first:])
    after_first, before, end = mib[0], mib[first], mib[-1]
    return (
        f"{epochs} epochs with an evaluation and a checkpoint each: {after_first:.1f} MiB after the first, {before:.1f} after "
        f"{first + 1}, {end:.1f} after the last; slope from there on {1024 * found:+.1f} ± {1024 * bound:.1f} KiB an epoch; "
        f"Python's objects {objects[first]:,} and {objects[-1]:,}"
    )


def contest(archive: Path, folder: Path, seconds: float, repetitions: int) -> str:
    """Return the table of the libraries that are installed, end to end: samples a second of the wall."""
    training_contest.prepare(archive, folder)
    os.environ["OMP_NUM_THREADS"] = str(training_contest.THREADS)
    found = {}
    for name, (build, packages) in training_contest.CONTENDERS.items():
        if name.endswith("bf16") and not has_bf16(torch.device("cpu")):
            continue
        missing = [package for package in packages if not importlib.util.find_spec(package)]
        if missing:
            print(f"{name}: left out, {' and '.join(missing)} not installed")
        else:
            found[name] = build
    results = compare(found, seconds, repetitions)
    os.environ["OMP_NUM_THREADS"] = "1"
    rows = [("..", "samples/s", "samples/s of one core", "of the loop by hand", "ours is")]
    ours, bare = results["ours"], results["by hand"]
    for name, each in results.items():
        wall = sorted(each.rates)
        cells = (
            f"{statistics.median(wall):,.0f} ({wall[0]:,.0f} to {wall[-1]:,.0f})", f"{each.rate:,.0f}",
            f"{ratio(each, bare):.2f}", f"{ratio(ours, each):.2f} x",
        )  # fmt: skip
        rows.append((name, *cells))
    return columns(rows)


def ratio(one: Result, other: Result) -> float:
    """Return the median over turns of the ratio of wall rates."""
    return statistics.median(a / b for a, b in zip(one.rates, other.rates))


def columns(rows: list[tuple[str, ...]]) -> str:
    """Return rows of cells as a table of reStructuredText, the first row as the header."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=PARTS, metavar="part", help=f"of {', '.join((*PARTS, 'contest'))}")
    parser.add_argument("--archive", type=Path, help="CIFAR-10 as <root>/train/<class>/*.jpg, of the contest")
    parser.add_argument("--repetitions", type=int, default=7, help="turns of each contender")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a turn, at least")
    parser.add_argument("--epochs", type=int, default=200, help="of the run whose memory is looked at")
    parser.add_argument("--large", action="store_true", help="also save 3.6 GB, which takes as much memory and disk")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - {*PARTS, "contest"}:
        parser.error(f"unknown part: {', '.join(sorted(unknown))}")
    if "contest" in arguments.parts and arguments.archive is None:
        parser.error("contest: --archive is missing")
    installed = [
        name for name in ("torch", "lightning", "lightly", "stable_pretraining") if importlib.util.find_spec(name)
    ]
    versions = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in installed)]
    print(f"python3 {shlex.join(sys.argv)}\n{time.strftime('%Y-%m-%d')}, {processors()}, {', '.join(versions)}")
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BENCH"] = folder
        for part in arguments.parts:
            begin = time.perf_counter()
            print(f"\n{part}\n", flush=True)
            if part == "steps":
                results = compare(without_missing(step_overhead.CONTENDERS), arguments.seconds, arguments.repetitions)
                print(microseconds(results))
            elif part == "images":
                results = compare(without_missing(small_resnet.CONTENDERS), arguments.seconds, arguments.repetitions)
                print(table(results, "ours"))
            elif part == "contest":
                print(contest(arguments.archive, Path(folder), arguments.seconds, arguments.repetitions))
            elif part == "memory":
                print(memory(arguments.epochs))
            else:
                for name in ("resnet18", "3.6 GB")[: 1 + arguments.large]:
                    size, costs = save_cost.costs(name, 3 if arguments.large else 7)
                    print(save_cost.table(name, size, costs))
            print(f"\n({time.perf_counter() - begin:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
