"""Open the data of a configuration whose training data is a stream."""

from contextlib import suppress
from typing import Any

import numpy as np
import torch

from ssl_data.augment.presets import views
from ssl_data.augment.seeding import preserved_generators
from ssl_data.config import DataConfig
from ssl_data.loader import Loader
from ssl_data.loading.streams import read_stream
from ssl_data.opening.open_data import (
    DataLoaders,
    described_functions,
    device_of,
    evaluated_parts,
    evaluation_function,
    worker_count,
)
from ssl_data.sources import BetonSource, FolderSource, ShardSource, Source
from ssl_data.sources.adapters.stream_samples import SampleForm, StreamSamples
from ssl_data.stream_loader import StreamLoader

SIZE = 224  # pixels, the field's size for photographs
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet: those of a stream are not known before its end
_BY_POSITION = ("fraction", "per_class", "imbalance", "label_noise", "on_error", "scaled_decoding")


def open_stream_loaders(config: DataConfig, batch_size: int, seed: int, rank: int, world_size: int) -> DataLoaders:
    """Return the loaders of one rank: see :meth:`ssl_data.DataConfig.open`.

    The evaluation data sets and the reference are read by position, as ever.
    """
    given = config.given
    for name in _BY_POSITION:
        if getattr(config, name) != getattr(DataConfig, name):
            raise ValueError(
                f"data.{name}={getattr(config, name)!r}: not possible with a stream (data.train={type(given.train).__name__}); "
                "local WebDataset shards can be read by position: train='train-*.tar'"
            )
    for name in ("pixels", "value_range"):
        if getattr(config, name) != getattr(DataConfig, name):
            raise ValueError(
                f"data.{name}={getattr(config, name)!r}: not a key of a stream, whose images are 8-bit RGB or grey; expected "
                "views that are functions, which get the samples unchanged"
            )
    if config.executor == "device":
        raise ValueError("data.executor='device': the images of a stream are not in memory; expected 'auto' or 'fused'")
    threads = worker_count(config)
    evaluation, reference = given.evaluation_sources(None, config.has_functions)
    for source in (reference, *evaluation.values()):
        if isinstance(source, FolderSource | BetonSource | ShardSource):
            source.load_into_memory(num_workers=max(1, threads))
    evaluation = evaluated_parts(config, evaluation)
    size = config.size or SIZE
    mean, std = ((), ()) if config.has_functions else _statistics(given, seed)
    ranks: dict[str, Any] = {"seed": seed, "rank": rank, "world_size": world_size, "num_workers": threads}
    train = StreamLoader(
        given.train,
        list(config.views) if config.has_functions else config.specs(size, mean, std),
        batch_size,
        given.epoch_samples,
        dtype=torch.bfloat16 if config.dtype == "bfloat16" else torch.float32,
        batch_transform=config.batch_transform,
        image=given.image,
        label=given.label,
        class_names=given.class_names or (None if reference is None else reference.class_names),
        name=f"data.train={type(given.train).__name__}",
        **ranks,
    )
    shapes = train.view_shapes()  # a function that fails is an error now, before anything is written

    if not config.has_functions:
        _check_bands(shapes[0][0], {"reference": reference, **evaluation})

    def plainly(source: Source) -> Loader:
        plain: list[Any] = (
            [evaluation_function(config, source)] if config.has_functions else views("evaluation", size, mean, std)
        )
        device = device_of(config, source)
        return Loader(source, plain, batch_size, device=device, shuffle=False, drop_last=False, **ranks)

    compared: Loader | list[Any] = [] if reference is None else plainly(reference)
    return DataLoaders(
        train=train,
        reference=compared,
        evaluation={name: plainly(each) for name, each in evaluation.items()},
        num_classes=len(train.class_names),
        class_names=train.class_names,
        image_shape=compared.view_shapes()[0] if isinstance(compared, Loader) else shapes[0],
        mean=mean,
        std=std,
        functions=described_functions(config),
    )


def _statistics(given: Any, seed: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return ImageNet's mean and deviation of each band; of grey images their means over the colours."""
    with suppress(Exception), preserved_generators():  # of many types; the loader reads it again, and reports them
        sample = next(read_stream(given.train, seed, 0, 0, 1))
        form = SampleForm("data.train", sample, given.image, given.label)
        if StreamSamples(form, [sample], np.zeros(1, np.int64)).image(0).shape[2] == 1:
            return (sum(MEAN) / 3,), (sum(STD) / 3,)
    return MEAN, STD


def _check_bands(bands: int, others: dict[str, Source | None]) -> None:
    """Raise a ValueError for images to evaluate that have other bands than those of the stream."""
    for name, source in others.items():
        found = bands if source is None else source.image(0).shape[2]
        if found != bands:
            raise ValueError(
                f"data.{name}: the number of bands of its images is {found}, that of the stream {bands}; expected the same "
                "(compressed images of a stream, and those of a folder, are read as RGB)"
            )
