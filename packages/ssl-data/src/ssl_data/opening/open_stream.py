"""Open the data of a configuration whose training data is a stream."""

from typing import Any

import torch

from ssl_data.augment.presets import views
from ssl_data.config import DataConfig
from ssl_data.loader import Loader
from ssl_data.opening.open_data import (
    DataLoaders,
    described_functions,
    device_of,
    evaluated_parts,
    evaluation_function,
    worker_count,
)
from ssl_data.sources import BetonSource, FolderSource, ShardSource, Source
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
    ranks: dict[str, Any] = {"seed": seed, "rank": rank, "world_size": world_size, "num_workers": threads}
    train = StreamLoader(
        given.train,
        list(config.views) if config.has_functions else config.specs(size, MEAN, STD),
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

    def plainly(source: Source) -> Loader:
        plain: list[Any] = (
            [evaluation_function(config, source)] if config.has_functions else views("evaluation", size, MEAN, STD)
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
        mean=() if config.has_functions else MEAN,
        std=() if config.has_functions else STD,
        functions=described_functions(config),
    )
