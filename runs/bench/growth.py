"""Growth: time and memory against the number of images, classes, epochs, run folders and ranks, with the slope.

    python3 runs/bench/growth.py --out growth.json                      # all parts, about ten minutes of one core
    python3 runs/bench/growth.py --out growth.json --parts folders classes
    python3 runs/bench/growth.py --out growth.json --draw growth.png    # nothing is measured: tables and figure

Each size is measured in a process of its own, without its imports and the making of its data: seconds of the wall, seconds of
the processor (children included) and the peak of the memory above what was resident before. On a shared machine processor
seconds count. The slope is that of log seconds against log size over the three largest sizes: 1 is linear, 2 quadratic. A part
that is measured again replaces its rows.
"""

import argparse
import datetime
import importlib.metadata
import json
import math
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from growth_parts import LEAST, LIMITS, PARTS
from process_timing import memory_mib, processors

MEMORY_MIB, SECONDS = 20 * 1024, 3600  # what breaks: more memory than this machine has, or an hour
FARTHEST = 100  # times the largest size: a slope is not followed beyond
FITTED = 3  # largest sizes, over which a slope is fitted
PRELOADED = [
    "torch", "torch.distributed", "matplotlib.figure", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_pdf",
    "yaml", "ssl_eval.evaluate", "ssl_eval.report.report", "ssl_losses", "ssl_data", "ssl_core.methods.supervised",
    "ssl_launch.cli.ls",
]  # fmt: skip
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON of all rows, kept between calls")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--largest", type=int, default=10**9, help="leave out larger sizes")
    parser.add_argument("--draw", type=Path, help="write the figure and print the tables; nothing is measured")
    options = parser.parse_args()
    known = json.loads(options.out.read_text()) if options.out.exists() else {"machine": "", "rows": []}
    if options.draw:
        import growth_figure

        growth_figure.draw(known["rows"], options.draw)
    else:
        known = {"machine": machine(), "rows": [row for row in known["rows"] if row["part"] not in options.parts]}
        for part in options.parts:
            for row in measured(part, options.largest):
                known["rows"].append(row)
                options.out.write_text(json.dumps(known, indent=1))
                print(
                    f"{part:8} {row['what']:22} {row['size']:>9,} {row['cpu']:9.3f} s {row['mib']:8.0f} MiB", flush=True
                )
    print(f"\n{known['machine']}\n")
    print(
        "\n\n".join(table(part, known["rows"]) for part in PARTS if any(row["part"] == part for row in known["rows"]))
    )


def machine() -> str:
    """Return date, processor and versions."""
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("torch", "numpy", "numba", "matplotlib")
    )
    return f"{datetime.date.today()}, {processors()}; Python {sys.version.split()[0]}, {versions}"


def measured(part: str, largest: int) -> Any:
    """Yield a row for each size of each function of a part."""
    sizes, functions = PARTS[part]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)  # imported once, and not in the time
    for what in functions:
        for size in sizes:
            if not LEAST.get(what, 0) <= size <= min(largest, LIMITS.get(what, largest)):
                continue
            place = tempfile.mkdtemp()
            here, there = context.Pipe()
            process = context.Process(target=_measure, args=(part, what, size, place, there))
            process.start()
            there.close()
            try:
                yield {"part": part, "what": what, "size": size, **here.recv()}
            except EOFError:
                print(f"{part}, {what}, {size:,}: its process died", flush=True)
            process.join()
            shutil.rmtree(place)


def _measure(part: str, what: str, size: int, place: str, connection: Any) -> None:
    os.environ["BENCH"] = place
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    torch.set_num_threads(1)
    timed = PARTS[part][1][what](size)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    before, wall, cpu = memory_mib("VmRSS"), time.perf_counter(), _cpu()
    own = timed()
    mib = max(0.0, memory_mib("VmHWM") - before)
    found = {"wall": time.perf_counter() - wall, "cpu": _cpu() - cpu, "mib": mib}
    connection.send(found | (own if part == "ranks" else {}))  # ranks measure themselves


def _cpu() -> float:
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in spent)


def slope(rows: list[Row], value: str = "cpu") -> tuple[float, float]:
    """Return the slope of log value against log size over the largest sizes, and its standard error (NaN for two)."""
    last = sorted(rows, key=lambda row: row["size"])[-FITTED:]
    points = [(math.log(row["size"]), math.log(max(row[value], 1e-6))) for row in last]
    n = len(points)
    if n < 2:
        return math.nan, math.nan
    middle, mean = (sum(column) / n for column in zip(*points))
    spread = sum((x - middle) ** 2 for x, _ in points)
    found = sum((x - middle) * (y - mean) for x, y in points) / spread
    left = sum((y - mean - found * (x - middle)) ** 2 for x, y in points)
    return found, math.sqrt(left / (n - 2) / spread) if n > 2 else math.nan


def breaks_at(rows: list[Row]) -> tuple[float, str]:
    """Return the size at which memory or an hour of one core would be exceeded, by the slopes, and which of them."""
    last = max(rows, key=lambda row: row["size"])
    found = [(math.inf, "-")]
    for value, limit in (("mib", MEMORY_MIB), ("cpu", SECONDS)):
        rise = slope(rows, value)[0]
        if rise > 0.1 and last[value] > 1e-3:
            found.append((last["size"] * (limit / last[value]) ** (1 / rise), {"mib": "memory", "cpu": "time"}[value]))
    return min(found) if min(found)[0] < FARTHEST * last["size"] else (math.inf, "-")


def table(part: str, rows: list[Row]) -> str:
    """Return a table of reStructuredText: seconds of one core and MiB at each size, slopes, and what breaks where."""
    rows = [row for row in rows if row["part"] == part]
    sizes = sorted({row["size"] for row in rows})
    lines = [[part, *(f"{size:,}" for size in sizes), "slope", "breaks at"]]
    for what in dict.fromkeys(row["what"] for row in rows):
        own = [row for row in rows if row["what"] == what]
        cells = {row["size"]: f"{row['cpu']:.3g} s, {row['mib']:,.0f}" for row in own}
        rise, error = slope(own)
        size, reason = breaks_at(own)
        note = f"{rise:.2f}" if math.isnan(error) else f"{rise:.2f} ± {error:.2f}"
        lines.append([what, *(cells.get(size, "-") for size in sizes), note, _size(size, reason)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rule = "  ".join("=" * width for width in widths)
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
    return "\n".join([rule, text[0], rule, *text[1:], rule])


def _size(size: float, reason: str) -> str:
    return "-" if size == math.inf else f"{float(f'{size:.1g}'):,.0f} ({reason})"


if __name__ == "__main__":
    main()
