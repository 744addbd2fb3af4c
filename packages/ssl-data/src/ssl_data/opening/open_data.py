"""Open the data of a configuration: sources by part, then the loaders of a rank."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_data.augment.functions import describe_function, identity, is_ready
from ssl_data.augment.presets import views
from ssl_data.config import DataConfig
from ssl_data.corruptions.loader import CorruptedLoader, corrupted_loaders
from ssl_data.corruptions.severities import BENCHMARK
from ssl_data.dataset_names import NATIVE_SIZES
from ssl_data.datasets import open_dataset
from ssl_data.errors import ArgumentError
from ssl_data.loader import Loader
from ssl_data.loading.ffcv_loader import FFCVLoader
from ssl_data.loading.ranks import check_batch_size
from ssl_data.loading.threads import bounded_threads
from ssl_data.opening.open_ffcv import open_ffcv
from ssl_data.opening.open_folder import loader_of_folder
from ssl_data.opening.statistics import statistics
from ssl_data.sources import BetonSource, FolderSource, IndexedSource, Relabelled, ShardSource, Source, Subset
from ssl_data.sources.adapters.hugging_face import open_hugging_face
from ssl_data.sources.adapters.samples import read_sample
from ssl_data.sources.derived.label_noise import symmetric_label_noise
from ssl_data.sources.derived.ranged import Ranged
from ssl_data.sources.derived.subset import subset_indices
from ssl_data.stream_loader import StreamLoader
from ssl_data.value_range import checked_range

EVAL_SEED = 0  # of data.eval_fraction and eval_per_class: runs with different seeds are evaluated on the same images


@dataclass
class DataLoaders:
    """The loaders of one rank: training, reference and evaluation, with facts about the data."""

    train: Loader | StreamLoader | FFCVLoader  # the views, shuffled, full batches only
    # the training images (labelled ones, where these are not) under the evaluation view, in order; empty for a stream
    # without a reference
    reference: Loader | list[Any]
    evaluation: dict[str, Loader]  # name of the data set -> its test images under the evaluation view
    num_classes: int  # K of the training images
    class_names: list[str]  # names of the K classes, in the order of the labels
    image_shape: tuple[int, ...]  # (C, H, W) of one view, or the shape that a function gives it
    mean: tuple[float, ...]  # mean of each channel, subtracted from pixels between 0 and 1
    std: tuple[float, ...]  # standard deviation of each channel; mean and std are empty for views of functions
    functions: dict[str, str] = field(default_factory=dict)  # name -> description of the user's functions

    def fingerprint(self) -> dict[str, dict[str, Any]]:
        """Return the fingerprint of each part, by name: what a run records, and compares when it is resumed."""
        found = {"train": self.train.fingerprint()}
        if isinstance(self.reference, Loader) and self.reference.source is not getattr(self.train, "source", None):
            found["reference"] = self.reference.fingerprint()
        if self.functions:
            found["functions"] = dict(self.functions)
        return found | {name: loader.fingerprint() for name, loader in self.evaluation.items()}

    def corrupted(self, corruption: str, severity: int, seed: int = 0) -> dict[str, CorruptedLoader]:
        """Return the loaders of ``evaluation`` with a corruption: see :func:`ssl_data.corrupt`."""
        return corrupted_loaders(self.evaluation, self.mean, self.std, corruption, severity, seed)

    @property
    def corruptions(self) -> tuple[str, ...]:
        """The corruptions of the benchmark."""
        return BENCHMARK

    def of_folder(self, folder: str) -> tuple[Loader, list[str]]:
        """Return the loader of images in class folders elsewhere, under the evaluation view, and the names of the classes."""
        return loader_of_folder(next(iter(self.evaluation.values()), self.reference), folder)


@dataclass
class Sources:
    """The parts of a data set; ``reference`` holds labelled training images where those of ``train`` have no labels."""

    train: Source
    evaluation: dict[str, Source]
    reference: Source | None

    @property
    def labelled(self) -> Source:
        return self.reference or self.train

    def ranged(self, value_range: tuple[float, float]) -> "Sources":
        """Return the same samples with another range of values."""
        train, *others = (
            None if each is None else Ranged(each, value_range)
            for each in (self.train, self.reference, *self.evaluation.values())
        )
        assert train is not None
        return Sources(train, dict(zip(self.evaluation, others[1:])), others[0])  # type: ignore[arg-type]

    @property
    def class_names(self) -> list[str]:
        sources = (self.train, self.reference, *self.evaluation.values())
        return next((list(each.class_names) for each in sources if each is not None and each.class_names), [])


def open_sources(config: DataConfig, **options: Any) -> Sources:
    """Return the parts of the data set of a configuration; files of images are listed, and not read yet.

    ``options`` of the sources (``on_error``, ``skip_limit``, ``memory``) replace those of the configuration.
    """
    config.check_objects()
    names = ("on_error", "skip_limit", "pixels", "value_range")
    reading: dict[str, Any] = {name: getattr(config, name) for name in names} | options
    if config.given is not None:
        functions = config.has_functions or (config.given.is_ffcv and config.eval_view is not None)
        return Sources(*config.given.sources(functions, scaled_decoding=config.scaled_decoding, **reading))
    if config.dataset == "huggingface":
        keys: dict[str, Any] = {"image": config.image_key or None, "label": config.label_key or None}
        parts = open_hugging_face(config.root, config.split, config.download)
        train, test = (IndexedSource(part, **keys, **reading) for part in parts)
        return Sources(train, {config.dataset: test}, None)
    reading.pop("memory", None)  # these sources decode later
    opened = open_dataset(
        config.dataset, config.root, config.split, config.download, scaled_decoding=config.scaled_decoding, **reading
    )
    return Sources(opened.train, {config.dataset.lower(): opened.test}, opened.reference)


def open_loaders(config: DataConfig, batch_size: int, seed: int, rank: int, world_size: int) -> DataLoaders:
    """Return the loaders of one rank: see :meth:`ssl_data.DataConfig.open`."""
    sources = open_sources(config)
    labels, part = _chosen(config, sources, batch_size, seed, world_size)  # before any image is decoded
    num_workers = worker_count(config)
    for source in (sources.train, sources.reference, *sources.evaluation.values()):
        if isinstance(source, FolderSource | BetonSource | ShardSource):
            source.load_into_memory(num_workers=max(1, num_workers))
    if config.value_range is not None:
        sources = sources.ranged(checked_range(config.value_range))
    train = sources.train
    if labels is not None:
        train = Relabelled(train, labels)
    if len(part) < len(train):
        train = Subset(train, part)
    first: Loader | FFCVLoader | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    if config.given is not None and config.given.is_ffcv:
        first, plain, mean, std = open_ffcv(config, sources.train, batch_size, seed, rank, world_size)
    elif config.has_functions:
        specs, plain = list(config.views), [evaluation_function(config, train)]
    else:
        _check_alike(sources)
        size = config.size or _native_size(config.dataset, train)
        mean, std = statistics(sources.train, num_workers)  # of all images: a part of them is seen as the whole is
        specs, plain = config.specs(size, mean, std), views("evaluation", size, mean, std)
    ranks: dict[str, Any] = {"seed": seed, "rank": rank, "world_size": world_size, "num_workers": num_workers}

    def plainly(source: Source) -> Loader:
        device = None if callable(plain[0]) else device_of(config, source)
        return Loader(source, plain, batch_size, device=device, shuffle=False, drop_last=False, **ranks)

    reference = plainly(sources.reference or train)
    if first is None:
        dtype = torch.bfloat16 if config.dtype == "bfloat16" else torch.float32
        transform, device = config.batch_transform, device_of(config, train)
        first = Loader(train, specs, batch_size, dtype=dtype, device=device, batch_transform=transform, **ranks)
        first.view_shapes()  # a function that fails is an error now, before anything is written
    return DataLoaders(
        train=first,
        reference=reference,
        evaluation={name: plainly(each) for name, each in evaluated_parts(config, sources.evaluation).items()},
        num_classes=len(sources.class_names),
        class_names=sources.class_names,
        image_shape=reference.view_shapes()[0],
        mean=mean,
        std=std,
        functions=described_functions(config),
    )


def worker_count(config: DataConfig) -> int:
    """Return the threads of the loaders, or the processes for views that are functions; 0: this process."""
    may_be_none = config.has_functions or config.eval_view is not None
    if may_be_none and config.num_workers == 0:
        return 0
    return bounded_threads(config.num_workers, "data.num_workers")


def _chosen(
    config: DataConfig, sources: Sources, batch_size: int, seed: int, world_size: int
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]:
    """Return the labels to train with, None for those of the data, and the positions of the training images."""
    own = sources.train.labels
    labels = training_labels(config, own, len(sources.class_names), seed)
    part = subset_indices(labels, config.fraction, config.imbalance, seed, config.per_class)
    check_batch_size(batch_size, len(part), world_size)
    return None if labels is own else labels, part


def count_labelled(config: DataConfig, seed: int) -> int:
    """Return how many images with labels a configuration trains on; images are not read.

    Where those of ``split`` have no labels, ``split`` is changed to the training images that have some.

    Raises
    ------
    ValueError, FileNotFoundError
        As :meth:`ssl_data.DataConfig.labelled_part`.
    """
    if config.given is not None and config.given.has_stream:
        config.use_reference()
    sources = open_sources(config)
    if sources.reference is not None:
        config.use_reference()
    labels = sources.labelled.labels
    if len(labels) == 0 or labels.min() < 0:
        raise ValueError(f"data.dataset={config.dataset!r}: the training images have no labels")
    labels = training_labels(config, labels, len(sources.labelled.class_names), seed)
    return len(subset_indices(labels, config.fraction, config.imbalance, seed))


def training_labels(config: DataConfig, labels: NDArray[np.int64], num_classes: int, seed: int) -> NDArray[np.int64]:
    """Return the labels to train with, some of them wrong by ``label_noise``."""
    for name in ("per_class", "imbalance", "label_noise"):
        if getattr(config, name) != getattr(DataConfig, name) and (len(labels) == 0 or labels.min() < 0):
            raise ValueError(f"data.{name}={getattr(config, name)!r}: the training images have no labels")
    if not config.label_noise:
        return labels
    if num_classes < 2:
        raise ValueError(f"data.label_noise={config.label_noise!r}: there is one class only")
    return symmetric_label_noise(labels, num_classes, config.label_noise, seed)


def _check_alike(sources: Sources) -> None:
    """Raise a ValueError for images to evaluate that have other bands or another type than those to train with."""
    first = sources.train.image(0)
    others = sources.evaluation | ({} if sources.reference is None else {"reference": sources.reference})
    for name, source in others.items():
        image = source.image(0)
        if (image.shape[2], image.dtype) != (first.shape[2], first.dtype):
            raise ValueError(
                f"data.pixels: the images of {name!r} have {image.shape[2]} bands of {image.dtype}, those to train with "
                f"{first.shape[2]} of {first.dtype}; expected the same"
            )


def evaluated_parts(config: DataConfig, evaluation: dict[str, Source]) -> dict[str, Source]:
    """Return the test images that ``eval_fraction`` or ``eval_per_class`` leaves of each data set."""
    if config.eval_fraction == 1 and not config.eval_per_class:
        return evaluation
    wanted = config.eval_fraction, config.eval_per_class
    return {name: Subset(each, evaluated_positions(each, name, *wanted)) for name, each in evaluation.items()}


def evaluated_positions(source: Source, name: str, fraction: float, per_class: int) -> NDArray[np.int64]:
    """Return the positions of the images that ``eval_fraction`` or ``eval_per_class`` leaves of a data set."""
    if per_class and (len(source) == 0 or source.labels.min() < 0):
        raise ValueError(f"data.eval_per_class={per_class!r}: the images of {name!r} have no labels")
    try:
        return subset_indices(source.labels, fraction, 1, EVAL_SEED, per_class)
    except ArgumentError as error:
        raise ArgumentError("data.eval_per_class", per_class, f"{name!r}: {error.reason}") from error


def evaluation_function(config: DataConfig, train: Source) -> Any:
    if config.eval_view is not None:
        return config.eval_view
    problem = is_ready(read_sample(train, 0))
    if problem is None:
        return identity
    raise ValueError(
        f"data.eval_view=None: the evaluation needs one view of a sample, and a sample is {problem}; expected a function that "
        "returns a tensor of floating point, such as a pipeline of torchvision without random transforms"
    )


def described_functions(config: DataConfig) -> dict[str, str]:
    """Return a description of each function of a configuration, for the record of a run."""
    found = {"eval_view": config.eval_view, "batch_transform": config.batch_transform}
    if config.has_functions:
        found |= {f"view {number}": function for number, function in enumerate(config.views)}
    return {name: describe_function(function) for name, function in found.items() if function is not None}


def device_of(config: DataConfig, source: Source) -> str | None:
    """Return the device that a source is kept on, or None for the processor's threads."""
    gpu = torch.cuda.is_available()
    if config.executor == "fused" or config.has_functions:
        return None
    if config.executor == "device":
        if source.images is None:
            raise ValueError("data.executor='device': the images are not in memory; expected 'auto' or 'fused'")
        return "cuda" if gpu else "cpu"
    fits = source.images is not None and source.images.nbytes <= config.device_memory_gb * 1e9
    return "cuda" if gpu and fits else None


def _native_size(dataset: str, source: Source) -> int:
    if source.images is None:
        return 224  # pixels, the field's size for photographs
    return NATIVE_SIZES["digits"] if dataset == "digits" else max(source.images.shape[1:3])
