"""The default run over several seeds: is the trained encoder better than the untrained one and raw pixels?

    python3 runs/bench/digits.py --seeds 0 1 2 3 4
    python3 runs/bench/digits.py --seeds 0 1 2 --recipe simclr_digits

Each seed is a whole run of ``runs/main.py`` in a process of its own; the figures are read from its ``table.json`` and
``summary.json``. Prints mean and standard deviation over the seeds, the margin of the trained encoder over the better of the
other two rows of the same seed, with its standard error, and the seconds. With ``--folder`` the runs are kept, and the same
command continues an interrupted series.
"""

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = Path(__file__).parent.parent


def run(seed: int, folder: Path, recipe: str, overrides: list[str]) -> tuple[dict, dict]:
    """Train with one seed; return its table and its summary, with the seconds of the whole process."""
    run_folder, seconds = folder / f"seed{seed}", folder / f"seed{seed}.json"
    command = [
        sys.executable,
        "main.py",
        f"--config-name={recipe}",
        f"hardware.seed={seed}",
        f"log.folder={folder}",
        f"log.run=seed{seed}",
        *overrides,
    ]
    if not seconds.exists():
        begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=RUNS, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        seconds.write_text(json.dumps({"process_wall": time.monotonic() - begin, "process_cpu": cpu}))
    summary = json.loads((run_folder / "summary.json").read_text()) | json.loads(seconds.read_text())
    return json.loads((run_folder / "table.json").read_text()), summary


def value(cell: float | dict) -> float:
    """Return a cell of the table in percent; of several draws the mean."""
    return 100 * (cell["mean"] if isinstance(cell, dict) else cell)


def spread(values: list[float]) -> float:
    """Return the sample deviation, 0 of one value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def show(tables: list[dict]) -> None:
    """Print each cell over the seeds, and the margins."""
    for column, name in enumerate(tables[0]["columns"][1:], start=1):
        rows = [[value(table["rows"][row][column]) for table in tables] for row in range(len(tables[0]["rows"]))]
        for (label, *_), values in zip(tables[0]["rows"], rows):
            each = " ".join(f"{each:5.1f}" for each in values)
            print(f"{name:31s} {label:18s} {statistics.mean(values):5.1f} ± {spread(values):.1f}   {each}")
        trained, *others = rows
        margins = [ours - max(theirs) for ours, *theirs in zip(trained, *others)]
        error = spread(margins) / math.sqrt(len(margins))
        print(f"{name:31s} {'margin':18s} {statistics.mean(margins):+5.1f}, standard error {error:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--recipe", default="simclr_affine_digits")
    parser.add_argument("--folder", type=Path, help="where the runs are kept; default: a temporary folder")
    parser.add_argument("overrides", nargs="*", help="passed on to main.py, e.g. optim.epochs=30")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(os.path.abspath(arguments.folder or temporary))
        folder.mkdir(parents=True, exist_ok=True)
        results = [run(seed, folder, arguments.recipe, arguments.overrides) for seed in arguments.seeds]
    show([table for table, _ in results])
    for _, summary in results:
        print(
            f"seed {summary['seed']}: {summary['process_wall']:.1f} s, CPU {summary['process_cpu']:.1f} s, "
            f"{summary['images_per_second'] or 0:.0f} images/s, {summary['precision']}"
        )


if __name__ == "__main__":
    main()
