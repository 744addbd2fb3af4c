"""Evaluation against scikit-learn: kNN by brute force and logistic regression, time and memory, in the same run.

    python3 runs/bench/eval.py                          # all parts
    python3 runs/bench/eval.py --parts knn --repeats 5
    python3 runs/bench/eval.py --clock cpu --threads 1  # on a machine that others use: waiting threads count, too

``knn``: 10,000 queries against 50,000 references, D = 512, by cosine; ``euclidean``: the same by distance, for which
scikit-learn has a kernel of its own. ``linear``: 50,000 by 512, ten classes that a hyperplane nearly separates; ``overlap``:
that overlap; at one regularisation, to where each ends by itself, and scikit-learn also with a tolerance that brings it to the
objective that ours ends at. ``large``: kNN against 128,000 by 2,048 references, a tenth of ImageNet. ``protocol``: each key of
an evaluation protocol alone, on the features of ``knn``.

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
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from process_timing import processors
from torch import Tensor

from ssl_eval import Features, Protocol, accuracy, evaluate_features, knn, linear_probe
from ssl_eval.probes.linear import standardization

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
PARTS = ("knn", "euclidean", "linear", "overlap", "large", "protocol")
# The keys of a protocol, each alone
KEYS: dict[str, Any] = {
    "knn": [20, 200], "linear": True, "sgd": True, "ridge": True, "class_means": True, "few": [0.01, 0.1], "label_free": True,
    "retrieval": [1, 5, 10], "clustering": True, "map_samples": 1000,
}  # fmt: skip
REGULARIZATION = 1e-3
Data = tuple[Tensor, Tensor, Tensor, Tensor]


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


def our_knn(data: Data, metric: str = "cosine") -> tuple[float, float]:
    train, labels, test, test_labels = data
    return accuracy(knn(train, labels, test, k=20, temperature=math.inf, metric=metric), test_labels, topk=(1,))[0], 0.0


def their_knn(data: Data, metric: str = "cosine") -> tuple[float, float]:
    from sklearn.neighbors import KNeighborsClassifier

    train, labels, test, test_labels = (each.numpy() for each in data)
    peer = KNeighborsClassifier(20, metric=metric, algorithm="brute", n_jobs=torch.get_num_threads()).fit(train, labels)
    return float(peer.score(test, test_labels)), 0.0


def our_probe(data: Data) -> tuple[float, float]:
    result = linear_probe(*data, regularization=REGULARIZATION, standardize=False)
    return result.accuracy, result.objective


def their_probe(data: Data, tol: float = 1e-4) -> tuple[float, float]:
    from sklearn.linear_model import LogisticRegression

    train, labels, test, test_labels = data
    peer = LogisticRegression(C=1 / (len(train) * REGULARIZATION), max_iter=1000, tol=tol)
    peer.fit(train.numpy(), labels.numpy())
    found = float(peer.score(test.numpy(), test_labels.numpy()))
    weight, bias = torch.as_tensor(peer.coef_), torch.as_tensor(peer.intercept_)
    loss = torch.nn.functional.cross_entropy(train @ weight.T.float() + bias.float(), labels)
    return found, float(loss) + REGULARIZATION / 2 * float(weight.square().sum())


def measure(function: Callable[[Data], tuple[float, float]], data: Data, clock: str, threads: int) -> dict[str, float]:
    """Call it in a fork of this process; return seconds, MB of growth, accuracy and objective."""
    here, there = multiprocessing.Pipe()

    def work() -> None:
        from threadpoolctl import threadpool_limits

        threadpool_limits(threads)  # scikit-learn's, whatever OMP_NUM_THREADS says
        torch.set_num_threads(threads)
        warnings.simplefilter("ignore")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = CLOCKS[clock]()
        found, objective = function(data)
        seconds = CLOCKS[clock]() - start
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        there.send({"seconds": seconds, "megabytes": grown, "accuracy": found, "objective": objective})

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
        print(
            f"{name:9s} {each:13s} {medians[each]['seconds']:7.2f} s ({min(seconds):.2f} to {max(seconds):.2f}), "
            f"{medians[each]['megabytes']:6.0f} MB more, accuracy {medians[each]['accuracy']:.4f}{objective}",
            flush=True,
        )
    return medians


def protocol_cost(data: Data, key: str) -> tuple[float, float]:
    """Evaluate one key of a protocol; the accuracy is its first metric."""
    off = {each: type(value)() for each, value in KEYS.items()}
    result = evaluate_features(Features(*data), Protocol(**off | {key: KEYS[key]}))
    first = next(iter(result.metrics.values()), math.nan)
    return first["mean"] if isinstance(first, dict) else first, 0.0


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
    euclidean = {"ours": partial(our_knn, metric="euclidean"), "scikit-learn": partial(their_knn, metric="euclidean")}
    pairs: dict[str, dict[str, Callable[[Data], Any]]] = {
        "knn": {"ours": our_knn, "scikit-learn": their_knn},
        "euclidean": euclidean,
    }
    probes = {"ours": our_probe, "scikit-learn": their_probe, "tol=1e-5": partial(their_probe, tol=1e-5)}
    pairs |= {"linear": probes, "overlap": probes}
    for name, pair in pairs.items():
        if name in arguments.parts:
            data = features(50_000, 10_000, 512, separation=0.3 if name == "overlap" else 0.8)
            data = standardized(data) if our_probe in pair.values() else data
            found = compare(name, pair, data, arguments.repeats, *how)
            ratios = {each: result["seconds"] / found["ours"]["seconds"] for each, result in found.items()}
            print(
                name,
                *(f"{each}: {ratio:.1f} times our time" for each, ratio in ratios.items() if each != "ours"),
                sep="; ",
            )
    if "large" in arguments.parts:
        compare("large", {"ours": our_knn}, features(128_000, 5_000, 2048), 1, *how)
    if "protocol" in arguments.parts:
        data = features(50_000, 10_000, 512)
        costs: dict[str, Callable[[Data], Any]] = {key: partial(protocol_cost, key=key) for key in KEYS}
        compare("protocol", costs, data, arguments.repeats, *how)


if __name__ == "__main__":
    main()
