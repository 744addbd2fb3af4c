"""The losses against lightly 1.6: time and peak memory of a forward and a backward pass.

    python3 runs/bench/losses.py                                   # all losses that both have, N = 256, 1024, 4096
    python3 runs/bench/losses.py --alone --losses nt_xent --sizes 16384 65536 --repeats 1
    python3 runs/bench/losses.py --limit 4096                      # what the processor could do at best
    python3 runs/bench/losses.py --import                          # what `import ssl_losses` costs

Times are medians over repetitions in which both libraries take turns, in one process; the peak memory (the growth of
getrusage's maxrss over that after a small step and after the inputs were made) has a process for each library, whose time
counts where there is a single repetition. All processes are forked from one that has computed nothing. ``--clock cpu``
counts the seconds of this process only: for a machine that others use at the same time, with one thread.
"""

import argparse
import multiprocessing
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import torch
from lightly import loss as lightly
from torch import Tensor

import ssl_losses

DIMENSIONS = 128
TEMPERATURE = 0.1
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
clock = CLOCKS["wall"]


def labels(z: Tensor) -> Tensor:
    return torch.arange(len(z)) % 100


# name -> ours, lightly's or None; both are called with two views
LOSSES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor] | None]] = {
    "nt_xent": (ssl_losses.NTXentLoss(TEMPERATURE), lightly.NTXentLoss(TEMPERATURE)),
    "dcl": (ssl_losses.DCLLoss(TEMPERATURE), lightly.DCLLoss(TEMPERATURE)),
    "dclw": (ssl_losses.DCLWLoss(TEMPERATURE), lightly.DCLWLoss(TEMPERATURE)),
    "macl": (ssl_losses.MACLLoss(), lightly.MACLLoss()),
    "supcon": (lambda a, b: ssl_losses.supcon([a, b], labels(a), TEMPERATURE), None),
    "clip": (lambda a, b: ssl_losses.clip(a, b, logit_scale=1 / TEMPERATURE), None),
    "barlow_twins": (ssl_losses.BarlowTwinsLoss(), lightly.BarlowTwinsLoss()),
    "vicreg": (ssl_losses.VICRegLoss(), lightly.VICRegLoss()),
    "negative_cosine_similarity": (
        ssl_losses.NegativeCosineSimilarityLoss(stop_gradient=False),
        lightly.NegativeCosineSimilarity(),
    ),
    "koleo": (lambda a, b: ssl_losses.koleo(a) + ssl_losses.koleo(b), lambda a, b: KOLEO(a) + KOLEO(b)),
}
KOLEO = lightly.KoLeoLoss()


def views(n: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, DIMENSIONS, generator=generator).requires_grad_() for _ in range(2)]


def step(loss: Callable[..., Tensor], inputs: list[Tensor]) -> float:
    """Return the seconds of one forward and backward pass."""
    for z in inputs:
        z.grad = None
    start = clock()
    loss(*inputs).backward()
    return clock() - start


def seconds(name: str, n: int, repeats: int, alone: bool) -> list[float]:
    """Return the median seconds of each library, taking turns."""
    losses = [loss for loss in LOSSES[name][: 1 if alone else 2] if loss is not None]
    inputs = views(n)
    for loss in losses:
        step(loss, inputs)  # memory is mapped
    times = [[step(loss, inputs) for loss in losses] for _ in range(repeats)]
    return [statistics.median(column) for column in zip(*times)]


def once(name: str, n: int, library: int) -> tuple[float, float]:
    """Return by how much the peak of resident memory grows in one step, in MiB, and the seconds of that step."""
    step(LOSSES[name][library], views(8))  # the code of both passes is in memory
    inputs = views(n)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    elapsed = step(LOSSES[name][library], inputs)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, elapsed


def forked(threads: int, function: Callable, *arguments: object):
    """Return what the function returns in a process of its own."""

    def child(sender) -> None:
        torch.set_num_threads(threads)
        sender.send(function(*arguments))

    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(sender,))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    finally:
        process.join()


def compare(names: list[str], sizes: list[int], repeats: int, threads: int, alone: bool) -> None:
    print(f"{'loss':28}{'N':>7}{'ours ms':>10}{'theirs ms':>10}{'ratio':>7}{'ours MiB':>10}{'theirs MiB':>11}")
    for name in names:
        both = not alone and LOSSES[name][1] is not None
        for n in sizes:
            memory, first = zip(*(forked(threads, once, name, n, library) for library in range(1 + both)))
            times = forked(threads, seconds, name, n, repeats, alone) if repeats > 1 else first
            ours, theirs = times[0], times[1] if both else float("nan")
            print(
                f"{name:28}{n:7}{1e3 * ours:10.2f}{1e3 * theirs:10.2f}{theirs / ours:7.2f}{memory[0]:10.1f}"
                f"{memory[1] if both else float('nan'):11.1f}",
                flush=True,
            )


def best(function: Callable[[], object], repeats: int = 50) -> float:
    """Return the least seconds of many."""
    times = []
    for _ in range(repeats):
        start = clock()
        function()
        times.append(clock() - start)
    return min(times)


def limit(n: int) -> None:
    """Print how fast NT-Xent could be: half of the products twice, half of them times the rows both ways, two exp2."""
    rows = ssl_losses.similarity.tiles.TILE_ROWS["cpu"]
    a, b, tile = torch.randn(rows, DIMENSIONS), torch.randn(rows, DIMENSIONS), torch.empty(rows, rows)
    products = best(lambda: torch.mm(a, b.T, out=tile)) / rows**2
    exp2, exp = best(lambda: torch.exp2(tile)) / rows**2, best(lambda: torch.exp(tile)) / rows**2
    half = (2 * n) ** 2 / 2
    floor = half * (4 * products + 2 * exp2)
    (ours,) = seconds("nt_xent", n, 5, alone=True)
    print(f"products {2 * DIMENSIONS / products / 1e9:.0f} GFLOP/s, exp2 {1e9 * exp2:.2f} ns, exp {1e9 * exp:.2f} ns")
    print(f"NT-Xent, N = {n}: {4 * half * 2 * DIMENSIONS / 1e9:.1f} GFLOP and {2 * half / 1e6:.0f} million exp2,")
    print(f"at best {1e3 * floor:.0f} ms; measured {1e3 * ours:.0f} ms, {ours / floor:.2f} times that")


def import_cost(repeats: int) -> None:
    name = clock.__name__
    code = f"import torch; from time import {name} as now; start = now(); import ssl_losses; print(now() - start)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, check=True) for _ in range(repeats)]
    times = [1e3 * float(run.stdout) for run in runs]
    print(
        f"import ssl_losses over import torch: median {statistics.median(times):.0f} ms of {repeats}, most {max(times):.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=[n for n in LOSSES if LOSSES[n][1] is not None])
    parser.add_argument("--sizes", nargs="+", type=int, default=[256, 1024, 4096], help="samples N")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--alone", action="store_true", help="ours only")
    parser.add_argument("--limit", type=int, metavar="N", help="what the processor could do at best")
    parser.add_argument("--import", action="store_true", dest="imports", help="what importing costs")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", "To copy construct from a tensor", UserWarning)  # lightly's DCLW
    global clock
    clock = CLOCKS[options.clock]
    if options.imports:
        import_cost(options.repeats)
    elif options.limit:
        forked(options.threads, limit, options.limit)
    else:
        compare(options.losses, options.sizes, options.repeats, options.threads, options.alone)


if __name__ == "__main__":
    main()
