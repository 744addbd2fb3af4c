"""Two SimCLR views of photographs at 224 pixels, from JPEG: ours, FFCV's own pipeline, lightly, and decoding alone.

    python3 runs/bench/data.py --photographs ../shared/data/imagenet-sample.tar

All read the same JPEG bytes: ours and FFCV from one ``.beton`` file, lightly from the files. Crop, flip, and jitter with
probability 0.8; ours and lightly have hue and grayscale too, which FFCV has not. The blur, which it has not either, is timed
apart. FFCV draws brightness, contrast and saturation one by one.
"""

import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

from process_timing import Epoch, Result, compare, table

SIZE, BATCH, WORKERS = 224, 50, 2
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def prepare(archive: Path, folder: Path) -> None:
    """Unpack the photographs, write them as JPEG into a ``.beton`` file, and tell the contenders' processes where."""
    from ssl_data import FolderSource, write_beton

    with tarfile.open(archive) as tar:
        tar.extractall(folder / "images", filter="data")
    (root,) = (folder / "images").iterdir()
    write_beton(FolderSource(root, memory=0), folder / "photographs.beton", mode="jpg", num_workers=WORKERS)
    os.environ["BENCH"] = json.dumps({"root": str(root), "beton": str(folder / "photographs.beton")})


def _where(name: str) -> str:
    return json.loads(os.environ["BENCH"])[name]


def _ours(blur: float) -> Epoch:
    from dataclasses import replace

    from ssl_data import BetonSource, Loader, views

    specs = [replace(spec, blur=blur) for spec in views("simclr", size=SIZE, mean=MEAN, std=STD)]
    loader = Loader(BetonSource(_where("beton"), memory=0), specs, BATCH, num_workers=WORKERS)
    return lambda: sum(len(labels) for _, labels, _ in loader)


def ours() -> Epoch:
    return _ours(blur=0.0)


def ours_with_blur() -> Epoch:
    return _ours(blur=0.5)


def _lightly(blur: float) -> Epoch:
    import torch
    from lightly.transforms import SimCLRTransform
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder

    torch.set_num_threads(1)
    transform = SimCLRTransform(
        input_size=SIZE,
        cj_prob=0.8,
        cj_strength=0.5,
        min_scale=0.2,
        gaussian_blur=blur,
        normalize={"mean": MEAN, "std": STD},
    )
    dataset = ImageFolder(_where("root"), transform)
    loader = DataLoader(dataset, BATCH, shuffle=True, num_workers=WORKERS, drop_last=True, persistent_workers=True)
    return lambda: sum(len(labels) for _, labels in loader)


def lightly() -> Epoch:
    return _lightly(blur=0.0)


def lightly_with_blur() -> Epoch:
    return _lightly(blur=0.5)


def _ffcv(num_views: int, jitter: bool) -> Epoch:
    import numpy as np
    from ffcv import transforms as t
    from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.pipeline import PipelineSpec

    def view() -> PipelineSpec:
        colours = [t.RandomBrightness(0.4, 0.8), t.RandomContrast(0.4, 0.8), t.RandomSaturation(0.4, 0.8)]
        return PipelineSpec(
            "image",
            RandomResizedCropRGBImageDecoder((SIZE, SIZE), scale=(0.2, 1.0)),
            [
                t.RandomHorizontalFlip(),
                *(colours if jitter else ()),
                t.NormalizeImage(np.array(MEAN) * 255, np.array(STD) * 255, np.float32),
                t.ToTensor(),
                t.ToTorchImage(),
            ],
        )

    pipelines = {f"view{number}": view() for number in range(num_views)}
    loader = Loader(
        _where("beton"), BATCH, num_workers=WORKERS, os_cache=True, order=OrderOption.RANDOM, drop_last=True,
        pipelines={"image": None, "label": [IntDecoder(), t.ToTensor()], **pipelines},
    )  # fmt: skip
    return lambda: sum(len(batch[0]) for batch in loader)


def ffcv() -> Epoch:
    return _ffcv(2, jitter=True)


def ffcv_decode_and_crop() -> Epoch:
    return _ffcv(1, jitter=False)


def decode() -> Epoch:
    """The decoder of ours, and nothing else, in as many threads."""
    from concurrent.futures import ThreadPoolExecutor

    from ssl_data import BetonSource

    source = BetonSource(_where("beton"), memory=0)
    pool = ThreadPoolExecutor(WORKERS)
    return lambda: sum(len(image) > 0 for image in pool.map(source.image, range(len(source))))


CONTENDERS: dict[str, Callable[[], Epoch]] = {
    "ours": ours,
    "FFCV, two pipelines (no hue, no grayscale)": ffcv,
    "lightly, DataLoader": lightly,
    "ours, with blur": ours_with_blur,
    "lightly, DataLoader, with blur": lightly_with_blur,
    "decoding alone (ours)": decode,
    "FFCV, decoding, one crop and flip": ffcv_decode_and_crop,
}


def run(seconds: float, repetitions: int) -> str:
    """Return the table and the ratios that are claimed."""
    results: dict[str, Result] = compare(CONTENDERS, seconds, repetitions)
    rate = {name: result.rate for name, result in results.items()}
    claims = [
        f"ours / FFCV: {rate['ours'] / rate['FFCV, two pipelines (no hue, no grayscale)']:.2f} (asked: at least 3)",
        f"ours / lightly: {rate['ours'] / rate['lightly, DataLoader']:.2f} (asked: at least 4)",
        f"with blur, ours / lightly: {rate['ours, with blur'] / rate['lightly, DataLoader, with blur']:.2f}",
        f"ours / what decoding alone allows: {rate['ours'] / rate['decoding alone (ours)']:.2f}",
    ]
    return "\n".join([table(results, "ours"), "", *claims])
