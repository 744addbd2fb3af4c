"""Memory, files and threads of a process that iterates over a loader of each kind for 100 epochs.

    python3 runs/bench/loader_memory.py

Images are random: 256 of 32 pixels, two SimCLR views each. Every kind has a process of its own. Memory is the resident memory
of the process and of its workers in MiB, files are open file descriptors and threads those of the process.
"""

import argparse
import multiprocessing
import os
import tempfile
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from process_timing import memory_mib

SAMPLES, SIZE, BATCH = 256, 32, 64
EPOCHS = (10, 50, 100)  # at which the process is measured


def images():
    return np.random.default_rng(0).integers(0, 256, (SAMPLES, SIZE, SIZE, 3), dtype=np.uint8), np.arange(SAMPLES) % 4


def in_memory(folder: Path, **options):
    from ssl_data import ArraySource, Loader, views

    return Loader(ArraySource(*images()), views("simclr", size=SIZE), BATCH, **options)


def on_device(folder: Path):
    return in_memory(folder, device="cpu")


def from_folder(folder: Path):
    from PIL import Image

    from ssl_data import FolderSource, Loader, views

    for number, (image, label) in enumerate(zip(*images())):
        place = folder / str(label)
        place.mkdir(exist_ok=True)
        Image.fromarray(image).save(place / f"{number}.png")
    return Loader(FolderSource(folder, memory=0), views("simclr", size=SIZE), BATCH)


def from_beton(folder: Path):
    from ssl_data import ArraySource, BetonSource, Loader, views, write_beton

    write_beton(ArraySource(*images()), folder / "images.beton")
    return Loader(BetonSource(folder / "images.beton"), views("simclr", size=SIZE), BATCH)


def by_functions(folder: Path, num_workers: int = 0, shuffle: bool = True):
    import torch
    from torchvision.transforms import v2

    from ssl_data import ArraySource, Loader

    crop = v2.Compose([v2.ToImage(), v2.RandomCrop(24), v2.ToDtype(torch.float32, scale=True)])
    return Loader(ArraySource(*images()), [crop, crop], BATCH, num_workers=num_workers, shuffle=shuffle)


def by_two_workers(folder: Path):
    return by_functions(folder, 2)


def by_two_new_workers(folder: Path):
    return by_functions(folder, 2, shuffle=False)


KINDS: dict[str, Callable] = {
    "images in memory": in_memory,
    "images in memory, batched operations": on_device,
    "folder of files": from_folder,
    "FFCV file": from_beton,
    "functions, no workers": by_functions,
    "functions, two workers": by_two_workers,
    "functions, two new workers each epoch": by_two_new_workers,
}


def descendants() -> list[int]:
    """Return the process ids of the workers of this process."""
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(each) for each in file.read().split()]


def measured() -> tuple[float, float, int, int]:
    """Return memory of this process and of its workers in MiB, its open files, and its threads."""
    workers = sum(memory_mib("VmRSS", each) for each in descendants())
    return memory_mib("VmRSS"), workers, len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))


def iterate(name: str, epochs: int) -> None:
    """Print the measurements of one kind in this process; its last epoch is measured in the middle, with all workers."""
    import torch

    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # this process was spawned, and its workers would be, too
    with tempfile.TemporaryDirectory() as folder:
        loader = KINDS[name](Path(folder))
        for epoch in range(1, epochs + 1):
            for step, _ in enumerate(loader):
                if step == len(loader) - 1 and epoch in EPOCHS:
                    own, workers, files, threads = measured()
                    print(f"{name:40s} epoch {epoch:3d} {own:7.1f} {workers:7.1f} {files:4d} {threads:4d}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=EPOCHS[-1])
    parser.add_argument("--only", help="part of the name of the kinds to measure", default="")
    arguments = parser.parse_args()
    print(f"{'':51s} process workers files threads")
    for name in KINDS:
        if arguments.only in name:
            process = get_context("spawn").Process(target=iterate, args=(name, arguments.epochs))
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(f"{name}: exit status {process.exitcode}")


if __name__ == "__main__":
    main()
