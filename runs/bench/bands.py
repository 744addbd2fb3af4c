"""Two views of images of 13 bands in memory, 64 by 64 pixels as in EuroSAT, against 8-bit RGB by band, torchvision and kornia.

    pip install kornia && python3 runs/bench/bands.py

The operations of a view: random resized crop, flip, brightness and contrast with probability 0.8, blur with 0.5, normalisation;
batches of 64. Every contender has a process of its own, and they take turns; rates are of one core. ColorJitter needs RGB:
brightness and contrast are written out for torchvision, and kornia has a class for each.
"""

import argparse
import datetime
import functools
import importlib.metadata
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from process_timing import Epoch, Result, compare, processors, table

SIDE, BANDS, BATCH, WORKERS = 64, 13, 64, 2
SAMPLES, FEW = 1024, 128  # of an epoch; FEW where they are made a hundred times slower
KINDS = {"uint8": 255, "uint16": 65535, "float32": 1}


def images(kind: str, bands: int, count: int) -> Any:
    """Return smooth images with some noise, ``(count, 64, 64, bands)``."""
    import numpy as np

    random = np.random.default_rng(0)
    coarse = random.random((count, 8, 8, bands), dtype=np.float32).repeat(8, 1).repeat(8, 2)
    values = (0.8 * coarse + 0.2 * random.random(coarse.shape, dtype=np.float32)) * KINDS[kind]
    return values.astype(kind)


def ours(kind: str, bands: int) -> Epoch:
    from ssl_data import ArraySource, Loader, ViewSpec

    spec = ViewSpec(
        size=SIDE, crop_scale=(0.2, 1.0), crop_ratio=(3 / 4, 4 / 3), flip=0.5, jitter=0.8, brightness=0.4, contrast=0.4,
        blur=0.5, mean=(0.5,) * bands, std=(0.25,) * bands,
    )  # fmt: skip
    loader = Loader(ArraySource(images(kind, bands, SAMPLES)), [spec, spec], BATCH, num_workers=WORKERS)
    return lambda: sum(len(labels) for _, labels, _ in loader)


def simclr() -> Epoch:
    from ssl_data import ArraySource, Loader, views

    specs = views("simclr", size=SIDE, mean=(0.5,) * 3, std=(0.25,) * 3)
    loader = Loader(ArraySource(images("uint8", 3, SAMPLES)), specs, BATCH, num_workers=WORKERS)
    return lambda: sum(len(labels) for _, labels, _ in loader)


def torchvision() -> Epoch:
    """A Dataset of float32 tensors with a pipeline of v2 in a DataLoader."""
    import torch
    from torch.utils.data import DataLoader, Dataset
    from torchvision.transforms import v2

    torch.set_num_threads(1)

    def jitter(x):
        brightness, contrast = (0.8 * torch.rand(2) + 0.6).tolist()
        x = (x * brightness).clamp(0, 1)
        return (x * contrast + x.mean() * (1 - contrast)).clamp(0, 1)

    view = v2.Compose(
        [
            v2.RandomResizedCrop(SIDE, scale=(0.2, 1.0)),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.Lambda(jitter)], p=0.8),
            v2.RandomApply([v2.GaussianBlur(7, (0.1, 2.0))], p=0.5),
            v2.Normalize([0.5] * BANDS, [0.25] * BANDS),
        ]
    )
    stored = torch.from_numpy(images("uint16", BANDS, FEW)).permute(0, 3, 1, 2).contiguous()

    class Satellite(Dataset):
        def __len__(self) -> int:
            return FEW

        def __getitem__(self, index):
            x = stored[index].float() / 65535
            return view(x), view(x)

    loader = DataLoader(
        Satellite(), BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True, multiprocessing_context="fork"
    )
    return lambda: sum(len(first) for first, _ in loader)


def kornia() -> Epoch:
    """Whole batches of float32 tensors in this process, with parameters of each sample."""
    import torch
    from kornia import augmentation as K

    torch.set_num_threads(WORKERS)
    view = K.AugmentationSequential(
        K.RandomResizedCrop((SIDE, SIDE), scale=(0.2, 1.0)),
        K.RandomHorizontalFlip(p=0.5),
        K.RandomBrightness((0.6, 1.4), p=0.8),
        K.RandomContrast((0.6, 1.4), p=0.8),
        K.RandomGaussianBlur((7, 7), (0.1, 2.0), p=0.5),
        K.Normalize(torch.full((BANDS,), 0.5), torch.full((BANDS,), 0.25)),
    )
    stored = torch.from_numpy(images("uint16", BANDS, FEW)).permute(0, 3, 1, 2).contiguous()

    def epoch() -> int:
        order = torch.randperm(FEW)
        for rows in order.split(BATCH):
            x = stored[rows].float() / 65535
            for _ in range(2):
                view(x)
        return FEW

    return epoch


def converting() -> Epoch:
    """The least that memory allows: each image is read once for each view, and written as float32."""
    import numpy as np

    stored = images("uint16", BANDS, SAMPLES)
    out = np.empty((BATCH, SIDE, SIDE, BANDS), np.float32)

    def epoch() -> int:
        order = np.random.default_rng(0).permutation(SAMPLES)
        for first in range(0, SAMPLES, BATCH):
            for _ in range(2):
                for row, position in enumerate(order[first : first + BATCH]):
                    np.multiply(stored[position], np.float32(1 / 65535), out=out[row], casting="unsafe")
        return SAMPLES

    return epoch


DEEP, RGB = "ours, 13 bands of uint16", "ours, RGB of uint8, the same operations"
CONTENDERS = {
    DEEP: functools.partial(ours, "uint16", BANDS),
    "ours, 13 bands of float32": functools.partial(ours, "float32", BANDS),
    "ours, 13 bands of uint8": functools.partial(ours, "uint8", BANDS),
    RGB: functools.partial(ours, "uint8", 3),
    "ours, RGB of uint8, SimCLR's operations": simclr,
    "torchvision v2, 13 bands, DataLoader": torchvision,
    "kornia, 13 bands, batches": kornia,
    "reading and converting alone, 13 bands": converting,
}


def claims(results: dict[str, Result]) -> list[str]:
    """Return the ratios that are claimed: medians over turns, in which the contenders are neighbours in time."""

    def ratio(first: str, second: str, factor: float = 1.0) -> float:
        pairs = zip(results[first].cpu_rates, results[second].cpu_rates)
        ratios = sorted(factor * a / b for a, b in pairs)
        return ratios[len(ratios) // 2]

    lines = [
        f"cost of a band, {name.removeprefix('ours, ')} / {RGB.removeprefix('ours, ')}: {ratio(RGB, name, 3 / BANDS):.2f}"
        for name in list(CONTENDERS)[:3]
    ]
    lines[0] += " (asked: at most 3)"
    return [
        *lines,
        f"ours / torchvision: {ratio(DEEP, 'torchvision v2, 13 bands, DataLoader'):.1f}",
        f"ours / kornia: {ratio(DEEP, 'kornia, 13 bands, batches'):.1f}",
        f"ours / what memory allows: {ratio(DEEP, 'reading and converting alone, 13 bands'):.3f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a turn")
    parser.add_argument("--repetitions", type=int, default=5, help="turns of each contender")
    arguments = parser.parse_args()
    names = ("torch", "torchvision", "kornia", "numba")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    print(f"{datetime.date.today()}, {processors()}; Python {sys.version.split()[0]}, {versions}", flush=True)
    results = compare(CONTENDERS, arguments.seconds, arguments.repetitions)
    print(table(results, DEEP), *claims(results), sep="\n")


if __name__ == "__main__":
    main()
