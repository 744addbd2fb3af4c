"""The main job over several seeds: does SimCLR on the digits beat the untrained encoder and raw pixels?

    python3 runs/bench/digits.py --seeds 0 1 2

Each seed is a whole run of ``runs/main.py`` in a process of its own; the figures are read from its ``table.json`` and
``summary.json``. Prints mean and standard deviation over the seeds, and the seconds.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

RUNS = Path(__file__).parent.parent


def run(seed: int, folder: Path, overrides: list[str]) -> tuple[dict, dict]:
    """Train with one seed; return its table and its summary."""
    command = [
        sys.executable,
        "main.py",
        f"++hardware.seed={seed}",
        f"++log.folder={folder}",
        f"++log.run=seed{seed}",
        *overrides,
    ]
    subprocess.run(command, cwd=RUNS, check=True, stdout=subprocess.DEVNULL)
    run_folder = folder / f"seed{seed}"
    return json.loads((run_folder / "table.json").read_text()), json.loads((run_folder / "summary.json").read_text())


def value(cell: float | dict) -> float:
    """Return a cell of the table in percent; of several draws the mean."""
    return 100 * (cell["mean"] if isinstance(cell, dict) else cell)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("overrides", nargs="*", help="passed on to main.py, e.g. ++optim.epochs=30")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = [run(seed, Path(folder), arguments.overrides) for seed in arguments.seeds]
    tables = [table for table, _ in results]
    for row, cells in enumerate(tables[0]["rows"]):
        for column, name in enumerate(tables[0]["columns"][1:], start=1):
            values = [value(table["rows"][row][column]) for table in tables]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            print(
                f"{cells[0]:20s} {name:35s} {statistics.mean(values):5.1f} ± {spread:.1f}   n={len(values)}  {values}"
            )
    for _, summary in results:
        rate = summary["images_per_second"]
        print(
            f"seed {summary['seed']}: {summary['wall_seconds']:.1f} s in all, {rate:.0f} images/s, {summary['precision']}"
        )


if __name__ == "__main__":
    main()
