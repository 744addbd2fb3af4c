"""Two SimCLR views of images of 32 pixels in memory: crop, flip, jitter with hue, grayscale; batches of 500.

FFCV has no hue and no grayscale, and draws brightness, contrast and saturation one by one. An epoch is 10,000 samples, 3,000 of
the two DataLoaders.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from process_timing import Epoch, Result, compare, table

SAMPLES, SIZE, BATCH, WORKERS = 10_000, 32, 500, 2
FEW = 3_000  # samples of an epoch where they are made a hundred times slower
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)


def prepare(archive: Path, folder: Path) -> None:
    """Decode the sample of the archive, write it raw into a ``.beton`` file, and say where."""
    from ssl_data import ArraySource, write_beton

    images, labels = decode_sample(archive, folder / "images.npz")
    write_beton(ArraySource(images, labels), folder / "images.beton")
    os.environ["BENCH"] = json.dumps({"arrays": str(folder / "images.npz"), "beton": str(folder / "images.beton")})


def decode_sample(archive: Path, file: Path):
    """Decode every fifth training image of ``<root>/train/<class>/*.jpg`` into a file; return images and labels."""
    import numpy as np
    from PIL import Image

    images, names, number = [], [], 0
    with tarfile.open(archive) as tar:
        for member in tar:
            path = Path(member.name)
            if member.isfile() and "train" in path.parts:
                if number % 5 == 0 and len(images) < SAMPLES:
                    images.append(np.asarray(Image.open(tar.extractfile(member)).convert("RGB")))
                    names.append(path.parent.name)
                number += 1
    _, labels = np.unique(names, return_inverse=True)
    np.savez(file, images=np.stack(images), labels=labels)
    return np.stack(images), labels


def _arrays():
    import numpy as np

    with np.load(json.loads(os.environ["BENCH"])["arrays"], allow_pickle=False) as file:
        return file["images"], file["labels"]


def _ours(**options) -> Epoch:
    from ssl_data import ArraySource, Loader, views

    specs = views("simclr", size=SIZE, mean=MEAN, std=STD)
    if options.pop("crop_only", False):
        specs = [replace(spec, jitter=0.0, grayscale=0.0) for spec in specs]
    loader = Loader(ArraySource(*_arrays()), specs, BATCH, num_workers=WORKERS, **options)
    return lambda: sum(len(labels) for _, labels, _ in loader)


def ours() -> Epoch:
    return _ours()


def ours_bfloat16() -> Epoch:
    import torch

    return _ours(dtype=torch.bfloat16)


def ours_crop_only() -> Epoch:
    return _ours(crop_only=True)


def _dataset(transform):
    """CIFAR10 as torchvision has it: an array, made a PIL image one by one."""
    from PIL import Image
    from torch.utils.data import Dataset

    class Cifar(Dataset):
        def __init__(self) -> None:
            self.images, self.labels = (array[:FEW] for array in _arrays())

        def __len__(self) -> int:
            return len(self.labels)

        def __getitem__(self, index):
            return transform(Image.fromarray(self.images[index])), self.labels[index]

    return Cifar()


def _epochs(transform) -> Epoch:
    import torch
    from torch.utils.data import DataLoader

    torch.set_num_threads(1)
    loader = DataLoader(
        _dataset(transform), BATCH, shuffle=True, num_workers=WORKERS, drop_last=True, persistent_workers=True,
        multiprocessing_context="fork",
    )  # fmt: skip
    return lambda: sum(len(labels) for _, labels in loader)


def _pipeline():
    import torch
    from torchvision.transforms import v2

    return v2.Compose(
        [
            v2.RandomResizedCrop(SIZE, scale=(0.08, 1.0)),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            v2.RandomGrayscale(0.2),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )


def torchvision() -> Epoch:
    view = _pipeline()
    return _epochs(lambda image: (view(image), view(image)))


def ours_pipeline() -> Epoch:
    """The data set and the pipeline of the contender ``torchvision``, each view seeded by (seed, epoch, index, view)."""
    import multiprocessing

    import torch

    from ssl_data import Loader, SampleSource

    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # as for the others; a contender's process was spawned
    loader = Loader(SampleSource(_dataset(lambda image: image)), [_pipeline()] * 2, BATCH, num_workers=WORKERS)
    return lambda: sum(len(labels) for _, labels, _ in loader)


def lightly() -> Epoch:
    from lightly.transforms import SimCLRTransform

    return _epochs(
        SimCLRTransform(input_size=SIZE, cj_strength=0.5, gaussian_blur=0.0, normalize={"mean": MEAN, "std": STD})
    )


def ffcv() -> Epoch:
    import numpy as np
    from ffcv import transforms as t
    from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.pipeline import PipelineSpec

    def view() -> PipelineSpec:
        return PipelineSpec(
            "image",
            RandomResizedCropRGBImageDecoder((SIZE, SIZE), scale=(0.08, 1.0)),
            [
                t.RandomHorizontalFlip(),
                t.RandomBrightness(0.4, 0.8),
                t.RandomContrast(0.4, 0.8),
                t.RandomSaturation(0.4, 0.8),
                t.NormalizeImage(np.array(MEAN) * 255, np.array(STD) * 255, np.float32),
                t.ToTensor(),
                t.ToTorchImage(),
            ],
        )

    loader = Loader(
        json.loads(os.environ["BENCH"])["beton"], BATCH, num_workers=WORKERS, os_cache=True, order=OrderOption.RANDOM,
        drop_last=True,
        pipelines={"image": None, "label": [IntDecoder(), t.ToTensor()], "first": view(), "second": view()},
    )  # fmt: skip
    return lambda: sum(len(batch[0]) for batch in loader)


def copying() -> Epoch:
    """What memory allows: the stored images read and as many floats written as views have, by as many threads."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    images, _ = _arrays()
    pool = ThreadPoolExecutor(WORKERS)
    stretch = BATCH // WORKERS

    def fill(out, first: int) -> None:
        for view in out:  # numpy lets go of the interpreter while it converts
            np.copyto(view[first : first + stretch], images[first : first + stretch], casting="unsafe")

    def epoch() -> int:
        for _ in range(SAMPLES // BATCH):
            out = [np.empty((BATCH, SIZE, SIZE, 3), np.float32) for _ in range(2)]
            list(pool.map(lambda first, out=out: fill(out, first), range(0, BATCH, stretch)))
        return SAMPLES

    return epoch


PIPELINE = "ours, torchvision's pipeline"
CONTENDERS: dict[str, Callable[[], Epoch]] = {
    "ours": ours,
    "ours, bfloat16": ours_bfloat16,
    "torchvision, DataLoader": torchvision,
    PIPELINE: ours_pipeline,
    "lightly, DataLoader": lightly,
    "FFCV, two pipelines (no hue, no grayscale)": ffcv,
    "ours, crop and flip only": ours_crop_only,
    "reading and writing alone": copying,
}


FIRST_BATCH = """
import numpy as np
from ssl_data import ArraySource, Loader, views
loader = Loader(ArraySource(np.zeros((512, 32, 32, 3), np.uint8)), views("simclr", size=32), 256)
next(iter(loader))
"""


def processor_seconds(code: str) -> float:
    """Return the median of the processor's seconds of three fresh processes that run some code, after one that compiles it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    spent = []
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(spent[1:])


def run(seconds: float, repetitions: int) -> str:
    """Return the table and the ratios that are claimed."""
    results: dict[str, Result] = compare(CONTENDERS, seconds, repetitions)
    rate = {name: result.rate for name, result in results.items()}
    claims = [
        f"ours / torchvision: {rate['ours'] / rate['torchvision, DataLoader']:.1f} (asked: at least 30)",
        f"ours / lightly: {rate['ours'] / rate['lightly, DataLoader']:.1f} (asked: at least 30)",
        f"ours / FFCV: {rate['ours'] / rate['FFCV, two pipelines (no hue, no grayscale)']:.1f} (asked: at least 5)",
        "the same data set and pipeline of torchvision, ours / DataLoader: "
        f"{rate[PIPELINE] / rate['torchvision, DataLoader']:.2f} (asked: at least 1.0)",
        f"ours / what memory allows: {rate['ours'] / rate['reading and writing alone']:.2f}",
        f"processor's seconds of a new process up to its first batch, compiled before: {processor_seconds(FIRST_BATCH):.2f} "
        f"(asked: below 3), of which {processor_seconds('import torch'):.2f} to import torch",
    ]
    return "\n".join([table(results, "ours"), "", *claims])
