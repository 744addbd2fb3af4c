"""The time of ``ssl-eval report`` over many run folders: its own process, from the command to the last file.

    python3 runs/bench/report.py                 # 100 runs: 20 settings, five seeds each
    python3 runs/bench/report.py --runs 20 --repeats 3

Each run has 60 epochs in 240 lines of metrics and an offline evaluation with per-class accuracies, confusion, reliability, a
spectrum of 512 eigenvalues and a map of 1,000 points. Printed are seconds by the wall's clock and of the processor, and for
comparison those of importing torch and matplotlib alone.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

EPOCHS, STEPS = 60, 20  # of a run, and of an epoch
IMPORTS = "import torch, matplotlib.figure, matplotlib.backends.backend_agg, matplotlib.backends.backend_pdf"


def write_run(folder: Path, rate: float, temperature: float, seed: int) -> None:
    """Write what a finished run of 60 epochs leaves behind."""
    (folder / "eval").mkdir(parents=True)
    accuracy = 0.8 + 0.02 * rate + 0.05 * temperature + 0.003 * seed
    config = {"model": {"name": "simclr", "temperature": temperature}, "optim": {"lr": rate, "epochs": EPOCHS}}
    (folder / "config.yaml").write_text(json.dumps(config | {"hardware": {"seed": seed}}))  # JSON is YAML
    lines: list[dict[str, Any]] = []
    for step in range(5, EPOCHS * STEPS + 1, 5):
        share = step / (EPOCHS * STEPS)
        lines.append({"step": step, "epoch": step // STEPS, "train/loss": 5 / step, "train/lr": rate})
        if step % STEPS == 0:
            lines[-1] |= {"digits/accuracy": accuracy * share, "digits/knn": accuracy * share**2}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    summary = {"status": "finished", "epoch": EPOCHS, "step": EPOCHS * STEPS, "seed": seed, "wall_seconds": 90.0 + seed}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "eval" / "standard.json").write_text(json.dumps(evaluation(accuracy, seed)))


def evaluation(accuracy: float, seed: int) -> dict[str, Any]:
    """Return an offline evaluation with everything that it may hold but hits."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(1000, 2, generator=generator).tolist()
    return {
        "protocol": "standard",
        "step": EPOCHS * STEPS,
        "epoch": EPOCHS,
        "dataset": "digits",
        "metrics": {"knn_20": accuracy, "linear": accuracy + 0.01, "rankme": 100 * accuracy, "uniformity": -accuracy},
        "per_class": {"names": [f"class {k}" for k in range(10)], "accuracy": [accuracy] * 10},
        "confusion": torch.randint(0, 60, (10, 10), generator=generator).tolist(),
        "reliability": {"confidence": [0.5, 0.9], "accuracy": [0.4, 0.95], "count": [10, 50]},
        "spectrum": [2.0 ** (-k / 40) for k in range(512)],
        "map": {"pca": points, "tsne": points, "labels": [k % 10 for k in range(1000)]},
    }


def timed(command: list[str]) -> tuple[float, float]:
    """Return the wall's and the processor's seconds of a process."""
    before, start = os.times(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - start, used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="five seeds of each setting")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.runs):
            setting, seed = divmod(number, 5)
            rate, temperature = 0.1 * 2 ** (setting % 5), 0.1 * (1 + setting // 5)
            write_run(Path(folder) / f"run{number}", rate, temperature, seed)
        report = [sys.executable, "-m", "ssl_eval.cli", "report", folder]
        for name, command in (("report", report), ("imports alone", [sys.executable, "-c", IMPORTS])):
            times = [timed(command) for _ in range(arguments.repeats)]
            wall, used = (statistics.median(each) for each in zip(*times))
            print(f"{name:14s} {wall:6.2f} s of the wall, {used:6.2f} s of the processor", flush=True)
        files = [file for file in (Path(folder) / "report").iterdir() if not file.name.startswith(".")]
        print(f"{arguments.runs} runs, {len(files)} files, {sum(file.suffix == '.png' for file in files)} figures")


if __name__ == "__main__":
    main()
