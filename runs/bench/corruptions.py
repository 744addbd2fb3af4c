"""Milliseconds that a corruption of ImageNet-C takes for one image, processor time of one core, at severity 5.

    python3 runs/bench/corruptions.py

The image is random; the time does not depend on its contents. Medians of the repetitions, after one to compile.
"""

import argparse
import platform
import shlex
import statistics
import sys
import time
from importlib.metadata import version

import numpy as np
from process_timing import processors

from ssl_data.corruptions.corrupt import corrupt
from ssl_data.corruptions.severities import BENCHMARK, CORRUPTIONS

EDGES, SEVERITY = (32, 224), 5


def milliseconds(corruption: str, edge: int, repetitions: int) -> float:
    """Return the median time of one image."""
    image = np.random.default_rng(0).integers(0, 256, (edge, edge, 3), np.uint8)
    times = []
    for index in range(repetitions + 1):
        began = time.process_time()
        corrupt(image, corruption, SEVERITY, index=index)
        times.append(1000 * (time.process_time() - began))
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=10)
    arguments = parser.parse_args()
    versions = f"Python {platform.python_version()}, numpy {version('numpy')}, numba {version('numba')}"
    print(f"python3 {shlex.join(sys.argv)}\n{time.strftime('%Y-%m-%d')}, {processors()}, {versions}\n")
    found = {name: [milliseconds(name, edge, arguments.repetitions) for edge in EDGES] for name in CORRUPTIONS}
    found |= {"all of the benchmark": [sum(found[name][column] for name in BENCHMARK) for column in range(len(EDGES))]}
    for name, values in found.items():
        print(f"{name:22s}" + "".join(f"{value:10.1f}" for value in values))


if __name__ == "__main__":
    main()
