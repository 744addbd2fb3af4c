"""ImageNet's scale: opening a folder of a million files, memory per worker, a ``.beton`` of 100,000 photographs, throughput.

    python3 runs/bench/scale.py ../shared/data/imagenet-sample.tar
    python3 runs/bench/scale.py ../shared/data/imagenet-sample.tar --parts open memory --files 100000

The million files are hard links to the photographs of the archive, in 1,000 class folders. What is made lies below ``--folder``
(local disk, about 12 GB) and is removed at the end; after an interruption the same command continues with what is there. Each
measurement has a process of its own. Throughput needs FFCV and WebDataset (``SSL_FFCV=1 hatch run ...``).
"""

import argparse
import datetime
import functools
import importlib.metadata
import json
import multiprocessing
import os
import shutil
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import shards
from process_timing import memory_mib, processors

CLASSES = 1000
PARTS = ("open", "memory", "beton", "throughput")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path, help="photographs: <root>/<class>/*.JPEG")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "ssl-scale")
    parser.add_argument("--files", type=int, default=1_000_000, help="links in the folder")
    parser.add_argument("--photographs", type=int, default=100_000, help="in the .beton file")
    parser.add_argument("--batches", type=int, default=20, help="of 50 samples, after which memory is measured")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a turn of the throughput")
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("torch", "torchvision", "ffcv", "webdataset")]
    print(
        f"{datetime.date.today()}, {processors()}; Python {sys.version.split()[0]}, {', '.join(versions)}", flush=True
    )
    options.folder.mkdir(parents=True, exist_ok=True)
    photographs = _unpacked(options.archive, options.folder)
    if "open" in options.parts or "memory" in options.parts:
        links = _linked(photographs, options.folder / f"links-{options.files}", options.files)
    if "open" in options.parts:
        _print("Opening the folder", _opening(links, options.repetitions))
    if "memory" in options.parts:
        _print("Memory of a loader on the folder, after the batches", _memory(links, options.batches))
    if "beton" in options.parts:
        _print(f"A .beton file of {options.photographs:,} photographs", _beton(photographs, options))
    if "throughput" in options.parts:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            shards.prepare(options.archive, Path(folder))
            print(f"\n{shards.__doc__}\n{shards.run(options.seconds, options.repetitions)}", flush=True)
    shutil.rmtree(options.folder)


def _unpacked(archive: Path, folder: Path) -> Path:
    place = folder / "photographs"
    if not place.exists():
        with tarfile.open(archive) as tar:
            tar.extractall(folder / "unpacking", filter="data")
        (folder / "unpacking").rename(place)
    (root,) = place.iterdir()
    return root


def _linked(photographs: Path, place: Path, files: int) -> Path:
    """Return a folder of ``files`` links in 1,000 classes, made where it is not complete."""
    paths = sorted(path for path in photographs.rglob("*") if path.is_file())
    begin = time.perf_counter()
    for number in range(CLASSES):
        final, unfinished = place / f"n{number:08}", place.with_name("unfinished")
        if final.exists():
            continue
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        for index in range(number, files, CLASSES):
            os.link(paths[index % len(paths)], unfinished / f"n{number:08}_{index}.JPEG")
        place.mkdir(exist_ok=True)
        unfinished.rename(final)
    print(f"{files:,} links in {time.perf_counter() - begin:.0f} s", flush=True)
    return place


def _print(title: str, rows: dict[str, str]) -> None:
    width = max(map(len, rows))
    print(f"\n{title}", *(f"  {name:{width}}  {value}" for name, value in rows.items()), sep="\n", flush=True)


def _apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


# ------------------------------------------------------------------------------------------------------------ opening


def _timed(function: Callable[[], Any]) -> tuple[float, float, float]:
    """Return seconds, seconds of the processor, and MiB by which the resident memory has grown."""
    before, wall, cpu = memory_mib("VmRSS"), time.perf_counter(), time.process_time()
    kept = function()
    result = time.perf_counter() - wall, time.process_time() - cpu, memory_mib("VmRSS") - before
    del kept
    return result


def _entries(folder: str) -> int:
    """List all entries, and nothing else: what no reader of the folder can do without."""
    with os.scandir(folder) as entries:
        return sum(_entries(entry.path) if entry.is_dir() else 1 for entry in entries)


def open_scandir(folder: str) -> Any:
    return _timed(functools.partial(_entries, folder))


def open_ours(folder: str) -> Any:
    from ssl_data import FolderSource

    return _timed(functools.partial(FolderSource, folder, memory=0))


def open_torchvision(folder: str) -> Any:
    from torchvision.datasets import ImageFolder

    return _timed(functools.partial(ImageFolder, folder))


def fingerprint(folder: str) -> Any:
    from ssl_data import FolderSource

    return _timed(FolderSource(folder, memory=0).fingerprint)


def order(folder: str) -> Any:
    """The order of an epoch."""
    import numpy as np

    from ssl_data.loading.shuffle import epoch_order

    ids = np.arange(sum(len(os.listdir(each.path)) for each in os.scandir(folder)))
    epoch_order(ids[:10], 0, 0)  # compiled
    return _timed(functools.partial(epoch_order, ids, 0, 1))


def _opening(links: Path, repetitions: int) -> dict[str, str]:
    contenders = {
        "os.scandir alone": open_scandir, "ours, FolderSource": open_ours, "torchvision, ImageFolder": open_torchvision,
        "ours, fingerprint": fingerprint, "ours, order of an epoch": order,
    }  # fmt: skip
    found: dict[str, list[Any]] = {name: [] for name in contenders}
    for _ in range(repetitions):
        for name, function in contenders.items():
            found[name].append(_apart(function, str(links)))
    medians = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in found.items()}
    least = medians["os.scandir alone"][1]
    return {
        name: f"{wall:6.1f} s, {cpu:6.2f} s of one core ({cpu / least:4.1f} x scandir), {grown:6.0f} MiB"
        for name, (wall, cpu, grown) in medians.items()
    }


# ------------------------------------------------------------------------------------------------------------- memory


def _family_mib() -> float:
    """Return the memory of this process and its children, shared pages counted once (PSS)."""
    children = [str(each.pid) for each in multiprocessing.active_children()]
    total = 0.0
    for process in ("self", *children):
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))
    return total


def memory_ours(folder: str, workers: int, batches: int) -> float:
    from ssl_data import FolderSource, Loader

    loader = Loader(FolderSource(folder, memory=0), shards._specs(), shards.BATCH, num_workers=workers)
    return _after(iter(loader), batches)


def memory_torchvision(folder: str, workers: int, batches: int) -> float:
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder

    dataset = ImageFolder(folder, shards._transform())
    return _after(iter(DataLoader(dataset, shards.BATCH, shuffle=True, num_workers=workers)), batches)


def _after(iterator: Any, batches: int) -> float:
    for _ in range(batches):
        next(iterator)
    return _family_mib()


def _memory(links: Path, batches: int) -> dict[str, str]:
    rows = {}
    for name, function in (("ours, threads", memory_ours), ("torchvision, processes", memory_torchvision)):
        few, many = (_in_child(function, str(links), workers, batches) for workers in (1, 4))
        rows[name] = f"{few:,.0f} MiB with 1 worker, {many:,.0f} with 4: {(many - few) / 3:,.0f} MiB a worker"
    return rows


def _in_child(function: Callable[..., float], *arguments: Any) -> float:
    """Return what a function returns in a fresh process that may have children itself."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, function, arguments))
    process.start()
    result = receiver.recv()
    process.join()
    return result


def _send(sender: Any, function: Callable[..., float], arguments: tuple[Any, ...]) -> None:
    sender.send(function(*arguments))


# -------------------------------------------------------------------------------------------------------------- beton


def write(root: str, path: str, count: int) -> Any:
    import numpy as np

    from ssl_data import FolderSource, Subset, write_beton

    source = FolderSource(root, memory=0)
    repeated = Subset(source, np.arange(count) % len(source))
    return _timed(lambda: write_beton(repeated, path, mode="jpg", num_workers=shards.WORKERS)), memory_mib("VmHWM")


def open_beton(path: str) -> Any:
    from ssl_data import BetonSource

    return _timed(lambda: BetonSource(path, memory=0))


def read(path: str, batches: int) -> list[float]:
    """Return the memory that belongs to this process alone (RssAnon), in MiB, after every quarter of the batches."""
    from ssl_data import BetonSource, Loader, views

    loader = Loader(BetonSource(path, memory=0), views("supervised", size=64), shards.BATCH, num_workers=shards.WORKERS)
    found = []
    for number, _ in zip(range(1, batches + 1), loader):
        if number % (batches // 4) == 0:
            found.append(memory_mib("RssAnon"))
    return found


def _beton(photographs: Path, options: argparse.Namespace) -> dict[str, str]:
    path, notes = options.folder / f"{options.photographs}.beton", options.folder / "written.json"
    if not path.exists():
        notes.write_text(json.dumps(_apart(write, str(photographs), str(path), options.photographs)))
    (wall, cpu, _), peak = json.loads(notes.read_text())
    opened, batches = _apart(open_beton, str(path)), min(10 * options.batches, options.photographs // shards.BATCH)
    memory = _apart(read, str(path), batches)
    return {
        "written": f"{wall:.0f} s, {cpu:.0f} s of one core, peak {peak:,.0f} MiB, {path.stat().st_size / 1e9:.2f} GB",
        "opened": f"{opened[0]:.2f} s, {opened[1]:.2f} s of one core, {opened[2]:.0f} MiB",
        f"read, {batches * shards.BATCH:,} samples": f"{', '.join(f'{each:,.0f}' for each in memory)} MiB by quarters",
    }


if __name__ == "__main__":
    main()
