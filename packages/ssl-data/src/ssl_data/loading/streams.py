"""Streams of samples, read through their own libraries, in an order that is a function of (seed, epoch, number of ranks)."""

import copy
import random
import sys
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any

from torch.utils.data import Dataset, IterableDataset

from ssl_data.augment.seeding import view_seed

_STREAM = 2**12 - 3  # in the place of a view's number: no view has the seed of a shuffle


def is_stream(data: Any) -> bool:
    """Return whether data can only be read from the beginning: a stream of WebDataset, Hugging Face or torch.

    An ``IterableDataset`` with ``__len__`` and its own ``__getitem__``, such as MosaicML's ``StreamingDataset``, is not a
    stream: its samples are read by position, which is exact.
    """
    by_position = type(data).__getitem__ is not Dataset.__getitem__ if hasattr(type(data), "__getitem__") else False
    return isinstance(data, IterableDataset) and not (by_position and hasattr(type(data), "__len__"))


def is_split_by_library(stream: Any) -> bool:
    """Return whether the library of a stream shares it out over the ranks. Else each rank reads all of it."""
    return _is_hugging_face(stream) or (_is_webdataset(stream) and any(map(_splits, stream.pipeline)))


def read_stream(stream: Any, seed: int, epoch: int, rank: int, world_size: int) -> Iterator[Any]:
    """Return the samples of an epoch, from the beginning.

    Parameters
    ----------
    stream : object
        Pipelines of WebDataset are read with seeds of their shuffles that depend on seed and epoch. Hugging Face's streams
        have the seed that ``shuffle(seed=...)`` was given. Both, and others with a ``set_epoch``, get the epoch.
    seed, epoch : int
        Seed and epoch of the loader.
    rank, world_size : int
        The part of the stream, where the library can share it out (:func:`is_split_by_library`).
    """
    if _is_webdataset(stream):
        return iter(_seeded(stream, seed, epoch, rank, world_size))
    if _is_hugging_face(stream):
        from datasets.distributed import split_dataset_by_node

        part = split_dataset_by_node(stream, rank=rank, world_size=world_size)  # a new object, also for one rank
        part = part.decode(False) if part.features else part  # images are decoded by our threads
        part.set_epoch(epoch)  # last: a new object has epoch 0
        return iter(part)
    if hasattr(stream, "set_epoch"):
        stream.set_epoch(epoch)
    return iter(stream)


def _is_webdataset(stream: Any) -> bool:
    library = sys.modules.get("webdataset")  # a stream of a library that is not loaded cannot be there
    return library is not None and isinstance(stream, library.DataPipeline)


def _is_hugging_face(stream: Any) -> bool:
    library = sys.modules.get("datasets")
    return library is not None and isinstance(stream, library.IterableDataset)


def _splits(stage: Any) -> bool:
    """Return whether a stage of WebDataset shares the shards out over ranks, or raises an error for several ranks."""
    from webdataset import shardlists

    return stage in (shardlists.split_by_node, shardlists.single_node_only)


def _seeded(stream: Any, seed: int, epoch: int, rank: int, world_size: int) -> Any:
    """Return a copy of a pipeline whose random stages depend on (seed, epoch), and whose shards are those of a rank."""
    part = copy.copy(stream)
    part.pipeline = [
        partial(_part, rank=rank, world_size=world_size) if _splits(stage) else
        _seeded_stage(stage, view_seed(seed, epoch, number, _STREAM) >> 32)
        for number, stage in enumerate(stream.pipeline)
    ]  # fmt: skip
    return part


def _seeded_stage(stage: Any, seed: int) -> Any:
    """Return a stage with another seed: unchanged, if it does not draw random numbers, or in a way that is not known."""
    from webdataset import filters, shardlists

    if isinstance(stage, filters.FilterFunction) and stage.f is filters.shuffle.f:
        options = dict(zip(("bufsize", "initial"), stage.args)) | stage.kw
        return filters.shuffle(**options | {"rng": random.Random(seed), "seed": None})
    if isinstance(stage, filters.detshuffle):
        return filters.detshuffle(stage.bufsize, stage.initial, seed)
    if isinstance(stage, shardlists.ResampledShards):
        changed = copy.copy(stage)
        # all ranks draw one list, which the stage behind it shares out
        changed.deterministic, changed.seed, changed.epoch, changed.worker_seed = True, seed, -1, int
        return changed
    if isinstance(stage, shardlists.SimpleShardList) and stage.seed is not None:
        changed = copy.copy(stage)
        changed.seed = seed
        return changed
    return stage


def _part(shards: Iterator[Any], rank: int, world_size: int) -> Iterator[Any]:
    return islice(shards, rank, None, world_size)
