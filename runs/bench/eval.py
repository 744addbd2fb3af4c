"""Evaluation against scikit-learn: kNN by brute force and logistic regression, time and memory, in the same run.

    python3 runs/bench/eval.py                          # all parts
    python3 runs/bench/eval.py --parts knn --repeats 5
    python3 runs/bench/eval.py --clock cpu --threads 1  # on a machine that others use: waiting threads count, too

``knn``: 10,000 queries against 50,000 references, D = 512, by cosine; ``euclidean``: the same by distance, for which
scikit-learn has a kernel of its own. ``linear``: 50,000 by 512, ten classes that a hyperplane nearly separates; ``overlap``:
that overlap; at one regularisation, to where each ends by itself, and scikit-learn also with a tolerance that brings it to the
objective that ours ends at. ``large``: kNN against 128,000 by 2,048 references, a tenth of ImageNet. ``protocol``: each key of
an evaluation protocol alone, on the features of ``knn``. ``extraction``:
the features of 512 images of 32 by 32 pixels, and the share of the time that is spent outside of the forward pass: opening data
and checkpoint, making batches, writing the features.

``products`` is the part of our time that the same algorithm cannot avoid: the bare matrix products of all pairs (in bfloat16
where the processor has it, else in float32), or those of as many evaluations of the objective as ours takes. The ratio without
any other work is printed as the limit.

Both sides get the same float32 features (standardised already, for the probe) and all cores. Times are medians of
repetitions in which both take turns, each in a process of its own, forked from one that holds the features and has computed
nothing. Memory is what such a process grew by at its peak (getrusage's maxrss over that before).
"""

import argparse
import math
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from process_timing import processors
from torch import Tensor

from ssl_core import Config, RunFolder
from ssl_core.config import HardwareConfig, LogConfig, OptimConfig
from ssl_core.evaluation import feature_cache
from ssl_core.methods import method_class
from ssl_data import DataConfig
from ssl_eval import Features, Protocol, accuracy, evaluate_features, knn, linear_probe
from ssl_eval.probes.knn_prefilter import has_bf16
from ssl_eval.probes.knn_search import TILE_ROWS, _rows
from ssl_eval.probes.lbfgs import BLOCK_ROWS
from ssl_eval.probes.linear import standardization

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
PARTS = ("knn", "euclidean", "linear", "overlap", "large", "protocol", "extraction")
# The keys of a protocol, each alone
KEYS: dict[str, Any] = {
    "knn": [20, 200], "linear": True, "sgd": True, "ridge": True, "class_means": True, "few": [0.01, 0.1], "label_free": True,
    "retrieval": [1, 5, 10], "clustering": True, "map_samples": 1000,
}  # fmt: skip
REGULARIZATION = 1e-3
Data = tuple[Tensor, Tensor, Tensor, Tensor]
Found = tuple[float, float, int]  # accuracy, objective, iterations


def features(samples: int, queries: int, width: int, separation: float = 0.8) -> Data:
    """Return features as an encoder gives them, (N, D) and (M, D): correlated, rectified, of ten classes."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(10, width, generator=generator)
    mixing = torch.randn(width, width, generator=generator) / width**0.5
    parts: list[Tensor] = []
    for count in (samples, queries):
        labels = torch.randint(10, (count,), generator=generator)
        x = torch.empty(count, width)
        for rows in torch.arange(count).split(8192):
            noise = 3.0 * torch.randn(len(rows), width, generator=generator)
            x[rows] = torch.relu((separation * centres[labels[rows]] + noise) @ mixing)
        parts += [x, labels]
    return parts[0], parts[1], parts[2], parts[3]


def standardized(data: Data) -> Data:
    mean, scale = standardization(data[0])
    return (data[0] - mean) / scale, data[1], (data[2] - mean) / scale, data[3]


def our_knn(data: Data, metric: str = "cosine") -> Found:
    train, labels, test, test_labels = data
    scores = knn(train, labels, test, k=20, temperature=math.inf, metric=metric)
    return accuracy(scores, test_labels, topk=(1,))[0], 0.0, 0


def knn_products(data: Data) -> Found:
    """Multiply all pairs, in the blocks and in the dtype of the prefilter."""
    dtype = torch.bfloat16 if has_bf16() else torch.float32
    train, _, test, _ = data
    queries, step = test.to(dtype), _rows(dtype.itemsize * train.shape[1])
    for references in train.to(dtype).split(step):
        for tile in queries.split(TILE_ROWS):
            tile @ references.T
    return 0.0, 0.0, 0


def their_knn(data: Data, metric: str = "cosine") -> Found:
    from sklearn.neighbors import KNeighborsClassifier

    train, labels, test, test_labels = (each.numpy() for each in data)
    peer = KNeighborsClassifier(20, metric=metric, algorithm="brute", n_jobs=torch.get_num_threads()).fit(train, labels)
    return float(peer.score(test, test_labels)), 0.0, 0


def our_probe(data: Data) -> Found:
    result = linear_probe(*data, regularization=REGULARIZATION, standardize=False)
    return result.accuracy, result.objective, result.iterations


def probe_products(data: Data, evaluations: int) -> Found:
    """Multiply features and weight, and residuals and features, as each evaluation of the objective does."""
    train, weight = data[0], torch.zeros(10, data[0].shape[1])
    blocks = train[: len(train) // BLOCK_ROWS * BLOCK_ROWS].unflatten(0, (-1, BLOCK_ROWS))
    for _ in range(evaluations):
        torch.bmm(torch.matmul(weight, blocks.mT), blocks)
    return 0.0, 0.0, 0


def their_probe(data: Data, tol: float = 1e-4) -> Found:
    from sklearn.linear_model import LogisticRegression

    train, labels, test, test_labels = data
    peer = LogisticRegression(C=1 / (len(train) * REGULARIZATION), max_iter=1000, tol=tol)
    peer.fit(train.numpy(), labels.numpy())
    found = float(peer.score(test.numpy(), test_labels.numpy()))
    weight, bias = torch.as_tensor(peer.coef_), torch.as_tensor(peer.intercept_)
    loss = torch.nn.functional.cross_entropy(train @ weight.T.float() + bias.float(), labels)
    return found, float(loss) + REGULARIZATION / 2 * float(weight.square().sum()), int(peer.n_iter_[0])


def measure(function: Callable[[Data], Found], data: Data, clock: str, threads: int) -> dict[str, float]:
    """Call it in a fork of this process; return seconds, MB of growth, accuracy, objective and iterations."""
    here, there = multiprocessing.Pipe()

    def work() -> None:
        from threadpoolctl import threadpool_limits

        threadpool_limits(threads)  # scikit-learn's, whatever OMP_NUM_THREADS says
        torch.set_num_threads(threads)
        warnings.simplefilter("ignore")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = CLOCKS[clock]()
        found, objective, iterations = function(data)
        seconds = CLOCKS[clock]() - start
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        result = {"megabytes": grown, "accuracy": found, "objective": objective, "iterations": iterations}
        there.send({"seconds": seconds, **result})

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    there.close()
    result = here.recv()
    process.join()
    return result


def compare(
    name: str, contenders: dict[str, Callable[[Data], Any]], data: Data, repeats: int, clock: str, threads: int
) -> dict[str, dict[str, float]]:
    """Let the contenders take turns; print and return the medians."""
    turns: dict[str, list[dict[str, float]]] = {each: [] for each in contenders}
    for _ in range(repeats):
        for each, function in contenders.items():
            turns[each].append(measure(function, data, clock, threads))
    medians = {}
    for each, results in turns.items():
        medians[each] = {key: statistics.median(result[key] for result in results) for key in results[0]}
        seconds = [result["seconds"] for result in results]
        objective = f", objective {medians[each]['objective']:.6f}" if medians[each]["objective"] else ""
        objective += f", {medians[each]['iterations']:.0f} iterations" if medians[each]["iterations"] else ""
        print(
            f"{name:9s} {each:13s} {medians[each]['seconds']:7.2f} s ({min(seconds):.2f} to {max(seconds):.2f}), "
            f"{medians[each]['megabytes']:6.0f} MB more, accuracy {medians[each]['accuracy']:.4f}{objective}",
            flush=True,
        )
    return medians


def protocol_cost(data: Data, key: str) -> Found:
    """Evaluate one key of a protocol; the accuracy is its first metric."""
    off = {each: type(value)() for each, value in KEYS.items()}
    result = evaluate_features(Features(*data), Protocol(**off | {key: KEYS[key]}))
    first = next(iter(result.metrics.values()), math.nan)
    return first["mean"] if isinstance(first, dict) else first, 0.0, 0


def print_ratios(name: str, found: dict[str, dict[str, float]], products: float) -> None:
    """Print the peers' times over ours, and over the bare products alone: the limit."""
    ours = found["ours"]["seconds"]
    peers = {each: result["seconds"] for each, result in found.items() if each not in ("ours", "products")}
    ratios = [f"{each}: {time / ours:.1f} times our time, limit {time / products:.1f}" for each, time in peers.items()]
    print(name, *ratios, f"products: {products / ours:.0%} of our time", sep="; ", flush=True)


def extraction(backbone: str, options: dict[str, Any], clock: str, threads: int) -> None:
    """Extract features by a backbone without training, and print the share of the time outside of the forward pass.

    The passes over the images, with the making of the batches, are what grows with their number.
    """
    torch.set_num_threads(threads)
    spent: list[float] = []
    passes: list[float] = []
    collect = feature_cache.collect_features

    def timed(*arguments: Any, **keys: Any) -> tuple[Tensor, Tensor]:
        start = CLOCKS[clock]()
        found = collect(*arguments, **keys)
        passes.append(CLOCKS[clock]() - start)
        return found

    class Timed(method_class("baseline")):  # type: ignore[misc]
        def features(self, x: Tensor) -> Tensor:
            start = CLOCKS[clock]()
            found = super().features(x)
            spent.append(CLOCKS[clock]() - start)
            return found

    with tempfile.TemporaryDirectory() as folder:
        config = Config(
            data=DataConfig(dataset="FakeData", fraction=0.25, num_workers=threads),
            model=Timed.config_class(name="baseline", backbone=backbone, backbone_options=options),
            optim=OptimConfig(epochs=0, batch_size=128),
            hardware=HardwareConfig(device="cpu", num_threads=threads),
            log=LogConfig(folder=folder, run="run", report=False, progress=False, eval_every=0, knn_samples=0),
        )
        Timed(config).fit()
        spent.clear()
        feature_cache.collect_features = timed
        start = CLOCKS[clock]()
        feature_cache.extract_features(RunFolder(Path(folder, "run")), method=Timed, device="cpu", view_samples=0)
        whole = CLOCKS[clock]() - start
        feature_cache.collect_features = collect
    print(
        f"extraction {backbone}: {whole:.2f} s, passes over the images {sum(passes):.2f} s, forward pass {sum(spent):.2f} s; "
        f"elsewhere: {1 - sum(spent) / sum(passes):.1%} of the passes, {1 - sum(spent) / whole:.1%} of all",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", default="wall", choices=tuple(CLOCKS))
    parser.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each (default: all cores)"
    )
    arguments = parser.parse_args()
    how = arguments.clock, arguments.threads
    import sklearn

    torch.set_num_threads(1)  # a fork of a process with a pool of threads waits for them for ever
    versions = f"torch {torch.__version__}, scikit-learn {sklearn.__version__}"
    print(f"{processors()}, {versions}, threads: {arguments.threads}, {arguments.clock} clock")
    euclidean = {
        "ours": partial(our_knn, metric="euclidean"),
        "scikit-learn": partial(their_knn, metric="euclidean"),
        "products": knn_products,
    }
    pairs: dict[str, dict[str, Callable[[Data], Any]]] = {
        "knn": {"ours": our_knn, "scikit-learn": their_knn, "products": knn_products},
        "euclidean": euclidean,
    }
    probes = {"ours": our_probe, "scikit-learn": their_probe, "tol=1e-5": partial(their_probe, tol=1e-5)}
    pairs |= {"linear": probes, "overlap": probes}
    for name, pair in pairs.items():
        if name in arguments.parts:
            data = features(50_000, 10_000, 512, separation=0.3 if name == "overlap" else 0.8)
            data = standardized(data) if our_probe in pair.values() else data
            found = compare(name, pair, data, arguments.repeats, *how)
            if "products" not in found:
                evaluations = round(found["ours"]["iterations"]) + 1
                bare = {"products": partial(probe_products, evaluations=evaluations)}
                found |= compare(name, bare, data, arguments.repeats, *how)
            print_ratios(name, found, found["products"]["seconds"])
    if "large" in arguments.parts:
        compare("large", {"ours": our_knn}, features(128_000, 5_000, 2048), 1, *how)
    if "protocol" in arguments.parts:
        data = features(50_000, 10_000, 512)
        costs: dict[str, Callable[[Data], Any]] = {key: partial(protocol_cost, key=key) for key in KEYS}
        compare("protocol", costs, data, arguments.repeats, *how)
    if "extraction" in arguments.parts:
        for backbone, options in (("resnet9", {"width": 16}), ("resnet18", {})):
            extraction(backbone, options, *how)


if __name__ == "__main__":
    main()
