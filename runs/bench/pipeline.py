"""A torch Dataset with a pipeline of torchvision v2: ``ssl_data.Loader`` against ``DataLoader``, in turns in one process.

python3 runs/bench/pipeline.py --workers 0 2 --turns 12

Two views of 3,000 images of 32 pixels an epoch, in batches of 500, by the same pipeline object. Both have the same number of
worker processes; those of the Loader live on from epoch to epoch, those of DataLoader are started for each, as by default.
"""

import argparse
import datetime
import statistics
import time
from typing import Any

import numpy as np
import torch
from PIL import Image
from process_timing import processors
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from ssl_data import Loader, SampleSource

SAMPLES, BATCH = 3000, 500
COLOURS = v2.ColorJitter(0.8, 0.8, 0.8, 0.2)
PIPELINE = v2.Compose([
    v2.RandomResizedCrop(32, scale=(0.08, 1.0)), v2.RandomHorizontalFlip(), v2.RandomApply([COLOURS], p=0.8),
    v2.RandomGrayscale(0.2), v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.2] * 3),
])  # fmt: skip


class Images(Dataset[Any]):
    """Random photographs in memory, as PIL images with a label."""

    def __init__(self) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (SAMPLES, 32, 32, 3), dtype=np.uint8)
        self.images = [Image.fromarray(each) for each in pixels]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        return self.images[index], index % 10


class TwoViews(Images):
    """The same with two views of each, as for a DataLoader."""

    def __getitem__(self, index: int) -> Any:
        image, label = super().__getitem__(index)
        return PIPELINE(image), PIPELINE(image), label


def epoch(loader: Any) -> float:
    """Return the seconds of an epoch."""
    began = time.perf_counter()
    for _ in loader:
        pass
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 2])
    parser.add_argument("--turns", type=int, default=12)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{datetime.date.today()}, {processors()}; torch {torch.__version__}")
    for workers in arguments.workers:
        theirs = DataLoader(TwoViews(), BATCH, shuffle=True, num_workers=workers, drop_last=True)
        ours = Loader(SampleSource(Images()), [PIPELINE, PIPELINE], BATCH, num_workers=workers)
        epoch(theirs), epoch(ours)
        turns = [(epoch(theirs), epoch(ours)) for _ in range(arguments.turns)]
        medians = [statistics.median(each) for each in zip(*turns)]
        ratios = sorted(first / second for first, second in turns)
        rates = [f"{SAMPLES / median:,.0f} samples/s" for median in medians]
        print(
            f"{workers} workers: DataLoader {rates[0]}, Loader {rates[1]}; DataLoader's seconds / ours, of a turn: median "
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
