"""Two SimCLR views of photographs at 224 pixels from files, shards and streams: ours, FFCV, WebDataset, torchvision.

The same crop, flip and jitter as in ``photographs``, without blur. WebDataset's and torchvision's pipelines are those of their
documentation: PIL, ``torchvision.transforms.v2``, and a ``DataLoader`` of 2 processes. FFCV has no hue and no grayscale.
"""

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import photographs
from photographs import BATCH, MEAN, SIZE, STD, WORKERS
from process_timing import Epoch, Result, compare, table

MAX_IN_SHARD = 63  # 4 shards of the 250 photographs, which the processes share evenly


def prepare(archive: Path, folder: Path) -> None:
    """Unpack the photographs, and write them as a ``.beton`` file and as shards."""
    import webdataset

    from ssl_data import FolderSource

    photographs.prepare(archive, folder)
    where = json.loads(os.environ["BENCH"])
    source = FolderSource(where["root"], memory=0)
    with webdataset.ShardWriter(str(folder / "%04d.tar"), maxcount=MAX_IN_SHARD, verbose=0) as writer:
        for number, (path, label) in enumerate(zip(source.paths, source.labels.tolist())):
            writer.write({"__key__": f"{number:06}", "jpg": Path(path).read_bytes(), "cls": label})
    shards = sorted(map(str, folder.glob("*.tar")))
    os.environ["BENCH"] = json.dumps(where | {"shards": shards, "num_samples": len(source)})


def _specs() -> list[Any]:
    from dataclasses import replace

    from ssl_data import views

    return [replace(spec, blur=0.0) for spec in views("simclr", size=SIZE, mean=MEAN, std=STD)]


def _counted(loader: Any) -> Epoch:
    return lambda: sum(len(labels) for _, labels, *_ in loader)


def ours_folder() -> Epoch:
    from ssl_data import FolderSource, Loader

    return _counted(Loader(FolderSource(photographs._where("root"), memory=0), _specs(), BATCH, num_workers=WORKERS))


def ours_shards() -> Epoch:
    from ssl_data import Loader, ShardSource

    return _counted(Loader(ShardSource(photographs._where("shards"), memory=0), _specs(), BATCH, num_workers=WORKERS))


def ours_stream() -> Epoch:
    import webdataset

    from ssl_data import StreamLoader

    shards, number = photographs._where("shards"), int(photographs._where("num_samples"))
    stream = webdataset.WebDataset(shards, shardshuffle=len(shards)).shuffle(100)
    return _counted(StreamLoader(stream, _specs(), BATCH, number, num_workers=WORKERS))


def _two_views(image: Any, transform: Any) -> Any:
    return transform(image), transform(image)


def _transform() -> Any:
    import torch
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    jitter = v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8)
    one = v2.Compose([
        v2.RandomResizedCrop(SIZE, (0.2, 1.0)), v2.RandomHorizontalFlip(), jitter, v2.RandomGrayscale(0.2), v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD),
    ])  # fmt: skip
    return functools.partial(_two_views, transform=one)


def torchvision() -> Epoch:
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder

    dataset = ImageFolder(photographs._where("root"), _transform())
    options: Any = {"shuffle": True, "drop_last": True, "num_workers": WORKERS, "persistent_workers": True}
    return _counted(DataLoader(dataset, BATCH, **options))


def web_dataset() -> Epoch:
    import webdataset
    from torch.utils.data import DataLoader

    shards = photographs._where("shards")
    dataset = webdataset.WebDataset(shards, shardshuffle=len(shards)).shuffle(100).decode("pil").to_tuple("jpg", "cls")
    dataset = dataset.map_tuple(_transform())
    return _counted(DataLoader(dataset, BATCH, num_workers=WORKERS, persistent_workers=True))


def reading() -> Epoch:
    """The stream without decoding."""
    import webdataset

    dataset = webdataset.WebDataset(photographs._where("shards"), shardshuffle=False)
    return lambda: sum(1 for _ in dataset)


CONTENDERS: dict[str, Callable[[], Epoch]] = {
    "ours, .beton": photographs.ours,
    "ours, folder": ours_folder,
    "ours, shards by position": ours_shards,
    "ours, stream of WebDataset": ours_stream,
    "FFCV (no hue, no grayscale)": photographs.ffcv,
    "WebDataset, DataLoader": web_dataset,
    "torchvision, DataLoader": torchvision,
    "JPEG decoding alone (ours)": photographs.decode,
    "reading a stream alone": reading,
}


def run(seconds: float, repetitions: int) -> str:
    """Return the table and the ratios that are claimed."""
    results: dict[str, Result] = compare(CONTENDERS, seconds, repetitions)
    rate = {name: result.rate for name, result in results.items()}
    ours, stream = rate["ours, .beton"], rate["ours, stream of WebDataset"]
    claims = [
        f"ours from .beton / FFCV: {ours / rate['FFCV (no hue, no grayscale)']:.2f}",
        f"ours from a stream / WebDataset: {stream / rate['WebDataset, DataLoader']:.2f}",
        f"ours from a folder / torchvision: {rate['ours, folder'] / rate['torchvision, DataLoader']:.2f}",
        f"ours from .beton / what decoding alone allows: {ours / rate['JPEG decoding alone (ours)']:.2f}",
    ]
    return "\n".join([table(results, "ours, .beton"), "", *claims])
