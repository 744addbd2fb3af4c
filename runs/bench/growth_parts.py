"""What :mod:`growth` measures: functions of a size that return another function, the timed one. Each runs in a new process."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from process_timing import memory_mib

Timed = Callable[[], Any]
WIDTH = 64  # features
QUERIES = 2_000  # test images


# ---- images: the embedded digits, repeated ----


def order(images: int) -> Timed:
    import numpy as np

    from ssl_data.loading.shuffle import epoch_order

    ids = np.arange(images)
    epoch_order(ids[:10], 0, 0)  # compiled
    return lambda: epoch_order(ids, 0, 1)


def loader_epoch(images: int) -> Timed:
    """One epoch of two views of 16 pixels by one thread, the pixels in memory."""
    import numpy as np

    from ssl_data import DataConfig

    pixels = np.random.default_rng(0).integers(0, 256, (1_797, 8, 8), dtype=np.uint8)
    chosen = np.arange(images) % len(pixels)
    data = DataConfig.of(train=(pixels[chosen], chosen % 10), views="digits", size=16, num_workers=1)
    loader = data.open(256, seed=0).train
    next(iter(loader))  # compiled
    return lambda: sum(len(batch[1]) for batch in loader.start(0, 0))


def _features(images: int, classes: int, seed: int = 0) -> tuple[Any, Any]:
    import torch

    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(images) % classes
    centres = torch.randn(classes, WIDTH, generator=torch.Generator().manual_seed(9))
    return centres[labels] + torch.randn(images, WIDTH, generator=generator), labels


def nearest(images: int, classes: int = 10) -> Timed:
    from ssl_eval import accuracy, knn

    (train, labels), (test, truth) = _features(images, classes), _features(QUERIES, classes, 1)
    return lambda: accuracy(knn(train, labels, test, 20, num_classes=classes), truth, topk=(1,))


def linear(images: int, classes: int = 10) -> Timed:
    """Five iterations of the linear probe: the number to convergence depends on the data, not on their size."""
    import warnings

    from ssl_eval import linear_probe

    (train, labels), (test, truth) = _features(images, classes), _features(QUERIES, classes, 1)
    warnings.simplefilter("ignore")
    return lambda: linear_probe(train, labels, test, truth, regularization=0.1, max_iterations=5)


def spectrum(images: int) -> Timed:
    from ssl_eval import label_free

    train, _ = _features(images, 10)
    return lambda: label_free(train)


# ---- classes ----


def nearest_of_classes(classes: int) -> Timed:
    return nearest(max(2_000, 2 * classes), classes)


def linear_of_classes(classes: int) -> Timed:
    return linear(max(2_000, 2 * classes), classes)


def dense_confusion(classes: int) -> Timed:
    """The whole matrix as JSON, as every evaluation wrote it up to 22,000 classes."""
    import torch

    from ssl_eval import confusion_matrix

    labels = torch.arange(QUERIES) % classes
    scores = torch.randn(QUERIES, classes, generator=torch.Generator().manual_seed(0))
    return lambda: len(json.dumps(confusion_matrix(scores, labels).tolist()))


def evaluation_file(classes: int) -> Timed:
    """What an evaluation computes and writes of the linear probe's scores; the probe itself is replaced by them."""
    from types import SimpleNamespace

    import torch

    from ssl_eval import Features, Protocol, evaluate

    (train, labels), (test, truth) = _features(2 * classes, classes), _features(QUERIES, classes, 1)
    scores = torch.randn(QUERIES, classes, generator=torch.Generator().manual_seed(0))
    evaluate.linear_probe = lambda *_, **__: SimpleNamespace(scores=scores)  # type: ignore[assignment]
    data, protocol = Features(train, labels, test, truth), Protocol(knn=[], few=[], label_free=False, map_samples=0)
    return lambda: len(json.dumps(evaluate.evaluate_features(data, protocol).to_dict()))


def class_report(classes: int) -> Timed:
    """``report`` of one run with an accuracy for each class."""
    import report as reports

    folder = Path(tempfile.mkdtemp(dir=os.environ["BENCH"]))
    reports.write_run(folder / "run", 0.1, 0.1, 0)
    path = folder / "run" / "eval" / "standard.json"
    values = json.loads(path.read_text())
    values["per_class"] = {
        "names": [f"class {k}" for k in range(classes)],
        "accuracy": [k / classes for k in range(classes)],
    }
    del values["confusion"]
    path.write_text(json.dumps(values))
    from ssl_eval.report.report import write_report

    return lambda: write_report([folder])


# ---- epochs, folders ----


def epochs(number: int) -> Timed:
    """A run of one step and one checkpoint an epoch, an evaluation every ten."""
    from ssl_core import Config
    from ssl_core.config import HardwareConfig, LogConfig, OptimConfig
    from ssl_core.methods.supervised import Supervised
    from ssl_data import DataConfig

    def run() -> Any:
        config = Config(
            data=DataConfig(views="supervised", num_workers=1),
            model=Supervised.config_class(name="supervised", backbone="resnet9", backbone_options={"width": 2}),
            optim=OptimConfig(epochs=number, max_steps=1, batch_size=64),
            hardware=HardwareConfig(num_threads=1, precision="fp32"),
            log=LogConfig(folder=tempfile.mkdtemp(dir=os.environ["BENCH"]), run="run", eval_every=10, report=False),
        )
        return Supervised(config).fit()

    return run


def _runs(number: int) -> Path:
    import report as reports

    folder = Path(tempfile.mkdtemp(dir=os.environ["BENCH"]))
    for run in range(number):
        setting, seed = divmod(run, 5)
        reports.write_run(folder / f"run{run}", 0.1 * 2 ** (setting % 5), 0.1 * (1 + setting // 5), seed)
    return folder


def list_runs(number: int) -> Timed:
    from ssl_launch.cli.ls import print_runs

    folder = _runs(number)

    def run() -> None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        print_runs([str(folder)], "best", False)

    return run


def report_runs(number: int) -> Timed:
    from ssl_eval.report.report import write_report

    folder = _runs(number)
    return lambda: write_report([folder])


# ---- ranks ----


def _ranked(world: int, loss: str) -> Timed:
    """Ten steps of a loss on every rank, 256 samples of width 256 each, backward included; seconds and memory of one rank."""
    import torch.multiprocessing as multiprocessing

    place = Path(os.environ["BENCH"])

    def run() -> dict[str, float]:
        multiprocessing.spawn(_rank, (world, loss, place), nprocs=world)
        found = [json.loads(path.read_text()) for path in place.glob("rank*.json")]
        return {"cpu": sum(each["cpu"] for each in found) / world, "mib": max(each["mib"] for each in found)}

    return run


def _rank(rank: int, world: int, loss: str, place: Path) -> None:
    import torch
    import torch.distributed as dist

    import ssl_losses

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{place}/meeting", rank=rank, world_size=world)
    gradient = torch.zeros(11_200_000) if loss == "ddp" else None  # of a ResNet-18
    for step in range(11):
        if step == 1:
            dist.barrier()
            memory, begin = memory_mib("VmRSS"), time.process_time()
        if gradient is not None:
            dist.all_reduce(gradient)
        else:
            views = [torch.randn(256, 256, requires_grad=True) for _ in range(2)]
            getattr(ssl_losses, loss)(*views).backward()
    found = {"cpu": time.process_time() - begin, "mib": max(0.0, memory_mib("VmHWM") - memory)}
    (place / f"rank{rank}.json").write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


def nt_xent_ranks(world: int) -> Timed:
    return _ranked(world, "nt_xent")


def vicreg_ranks(world: int) -> Timed:
    return _ranked(world, "vicreg")


def ddp_ranks(world: int) -> Timed:
    return _ranked(world, "ddp")


# ---- checkpoints: three equal parts, as weights and the moments of AdamW; the size is in MB ----


def save(megabytes: int) -> Timed:
    import torch

    from ssl_core.checkpoint.store import CheckpointStore

    state = {
        "state": {
            part: [torch.randn(megabytes * 10**6 // 48) for _ in range(4)] for part in ("model", "first", "second")
        }
    }
    store = CheckpointStore(Path(os.environ["BENCH"]) / "checkpoints")
    return lambda: store.save(1, state)


def load(megabytes: int) -> Timed:
    """Check and load, as every rank does at a restart; the file is in the page cache."""
    import torch

    from ssl_core.checkpoint.store import CheckpointStore

    save(megabytes)()
    return lambda: CheckpointStore(Path(os.environ["BENCH"]) / "checkpoints").load(torch.device("cpu"))


PARTS: dict[str, tuple[tuple[int, ...], dict[str, Callable[[int], Timed]]]] = {
    "images": (
        (1_000, 10_000, 100_000, 1_000_000),
        {
            "order of an epoch": order, "epoch of the loader": loader_epoch, "kNN": nearest,
            "linear probe": linear, "label-free measures": spectrum,
        },
    ),
    "classes": (
        (10, 100, 1_000, 5_000, 22_000),
        {
            "kNN": nearest_of_classes, "linear probe": linear_of_classes, "dense confusion": dense_confusion,
            "evaluation file": evaluation_file, "report of a run": class_report,
        },
    ),
    "epochs": ((10, 30, 100, 300), {"run": epochs}),
    "folders": ((1, 10, 100, 1_000), {"ls": list_runs, "report": report_runs}),
    "checkpoint": ((100, 400, 1_600), {"save": save, "load": load}),
    "ranks": ((1, 2, 4), {"NT-Xent": nt_xent_ranks, "VICReg": vicreg_ranks, "gradient, 45 MB": ddp_ranks}),
}  # fmt: skip
LEAST = {"gradient, 45 MB": 2}  # one rank has nothing to communicate
LIMITS = {"dense confusion": 5_000}  # 22,000 classes would take about 8 GB
