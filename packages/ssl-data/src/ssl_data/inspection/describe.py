"""Describe a data set: sizes, bands, classes, unreadable samples and duplicates."""

import copy
import dataclasses
from collections.abc import Iterable
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import IterableDataset

from ssl_data.augment.functions import identity
from ssl_data.config import DataConfig
from ssl_data.errors import ArgumentError
from ssl_data.inspection.data_report import DataReport, Duplicate, PartReport, SharedSamples, Unreadable
from ssl_data.inspection.read_samples import Tally, differs_by_call, read_samples, sample_name
from ssl_data.loading.threads import bounded_threads
from ssl_data.opening.open_data import evaluated_positions, open_sources, training_labels
from ssl_data.sources import Source
from ssl_data.sources.derived.derived import Derived
from ssl_data.sources.derived.subset import subset_indices

MAX_NAMES = 20  # of unreadable and repeated samples that a report keeps
_TRAINING = ("train", "reference")  # parts with which the others are compared


class _Part(NamedTuple):
    """Some samples of a source, with the labels that a run sees."""

    name: str
    source: Source
    labels: NDArray[np.int64]  # of all samples of the source
    class_names: list[str]
    positions: NDArray[np.int64]  # of the part
    tried: NDArray[np.int64]  # of the samples that are read


def describe(
    data: Any, samples: int = 0, seed: int = 0, num_workers: int | None = None, progress: bool = False
) -> DataReport:
    """Return number, sizes, bands and classes of the samples of a data set, unreadable samples, and duplicates.

    Every sample is read once, in threads; samples of Python objects that are no images, in this thread. Duplicates have the
    same SHA-256 digest of shape, type and decoded pixels: a copy of a file is found, also as PNG and TIFF, a resized or newly
    compressed image is not. Reading takes 1.1 times the time of decoding ImageNet's photographs, 1.3 times that of thumbnails.
    16 bytes a sample are kept.

    Parameters
    ----------
    data : DataConfig, Source or object
        A configuration: each of its parts, with its subsets and label noise. A source, or a data set as for
        :meth:`ssl_data.DataConfig.of`: one part.
    samples : int
        Number of samples to read of each part, spread evenly over it; 0: all. Classes are counted over all samples.
    seed : int
        Random seed of subsets and label noise, as in a run.
    num_workers : int, optional
        Number of threads; default: those of the configuration, or one for each processor.
    progress : bool
        Whether a line on stderr shows how many samples have been read.

    Returns
    -------
    DataReport
        ``parts``, a report by name of part, and ``shared``, the samples of evaluations that are in the training data.
        ``print(report)`` shows both in short lines.

    Raises
    ------
    ValueError, FileNotFoundError
        For data that cannot be opened. Samples that cannot be read are part of the report.

    Examples
    --------
    >>> import numpy as np
    >>> from ssl_data import describe
    >>> report = describe((np.zeros((4, 8, 8, 3), np.uint8), [0, 0, 0, 1]))
    >>> report.parts["data"].num_duplicates, report.parts["data"].class_counts
    (3, {'0': 3, '1': 1})
    """
    if samples < 0:
        raise ArgumentError("samples", samples, "expected at least 0 (0: all of them)")
    streams = (
        ["train"] if isinstance(data, DataConfig) and data.given is not None and _is_stream(data.given.train) else []
    )
    parts, wanted = _parts(_without_stream(data) if streams else data, samples, seed)
    parts = [part._replace(name="reference") if streams and part.name == "train" else part for part in parts]
    threads = bounded_threads(wanted if num_workers is None else num_workers)
    reports, digests = {}, {}
    for part in parts:
        tally = read_samples(part.source, part.tried, threads, part.name if progress else "")
        digests[part.name] = tally.digests
        reports[part.name] = _report(part, tally)
    certain = [part for part in parts if reports[part.name].num_duplicates is not None]
    shared = [
        _shared(part, digests[part.name], other, digests[other.name])
        for part in certain
        for other in certain
        if part.name not in _TRAINING and other.name in _TRAINING
    ]
    return DataReport(reports, shared, streams)


def _parts(data: Any, samples: int, seed: int) -> tuple[list[_Part], int | None]:
    """Return the parts of the data, and the threads that its configuration sets."""
    if not isinstance(data, DataConfig) and hasattr(data, "open"):
        return _opened_parts(data, samples, seed), None
    if not isinstance(data, DataConfig):
        given = open_sources(DataConfig.of(train=data, views=[identity]), memory=0)
        return [_whole("data", given.train, samples)], None
    data.check()
    # Unreadable samples are no error here; they would be one when a data set is opened
    lenient = {} if data.has_functions else {"on_error": "skip", "skip_limit": 1.0}
    sources = open_sources(data, memory=0, **lenient)
    names = sources.class_names
    labels = training_labels(data, sources.train.labels, len(names), seed)
    chosen = subset_indices(labels, data.fraction, data.imbalance, seed, data.per_class)
    parts = [_part("train", sources.train, labels, chosen, names, samples)]
    others = {} if sources.reference is None else {"reference": (sources.reference, 1.0, 0)}
    others |= {name: (each, data.eval_fraction, data.eval_per_class) for name, each in sources.evaluation.items()}
    for name, (source, share, per_class) in others.items():
        chosen = evaluated_positions(source, name, share, per_class)
        title = "test" if len(sources.evaluation) == 1 and name != "reference" else name
        parts.append(_part(title, source, source.labels, chosen, names, samples))
    return parts, data.num_workers


def _is_stream(data: Any) -> bool:
    """Return whether a data set has no samples by position: a stream, or a loader of another library."""
    is_indexed = hasattr(data, "__getitem__") and not isinstance(data, IterableDataset)
    return hasattr(data, "__iter__") and not is_indexed


def _without_stream(data: DataConfig) -> DataConfig:
    """Return the configuration with the reference in the place of the training data."""
    if data.given.reference is None:
        name = type(data.given.train).__name__
        raise ArgumentError("data.train", name, "a stream or loader, whose samples cannot be read by position")
    part = copy.copy(data)
    part.use_reference()
    return part


def _opened_parts(data: Any, samples: int, seed: int) -> list[_Part]:
    """Return the parts of a user-defined configuration: the sources of its loaders."""
    opened = data.open(1, seed, 0, 1)
    loaders = {"train": opened.train, **opened.evaluation}
    without = [name for name, loader in loaders.items() if not hasattr(loader, "source")]
    if without:
        raise ArgumentError(
            "data", type(data).__name__, f"its loader {without[0]!r} has no source of samples, as ssl_data.Loader has"
        )
    return [_whole(name, loader.source, samples) for name, loader in loaders.items()]


def _whole(name: str, given: Source, samples: int) -> _Part:
    """Return all samples of a source, as a part of the source that they come from."""
    source, positions = given, np.arange(len(given))
    while isinstance(source, Derived):
        source, positions = source.origin(positions)
    labels = np.full(len(source), -1, np.int64)
    labels[positions] = given.labels
    return _part(name, source, labels, positions, given.class_names, samples)


def _part(
    name: str,
    source: Source,
    labels: NDArray[np.int64],
    positions: NDArray[np.int64],
    class_names: list[str],
    samples: int,
) -> _Part:
    tried = positions
    if samples and samples < len(positions):
        tried = positions[np.linspace(0, len(positions) - 1, samples).round().astype(np.int64)]
    return _Part(name, source, labels, class_names, positions, tried)


def _report(part: _Part, tally: Tally) -> PartReport:
    def names(places: Iterable[int]) -> list[str]:
        return [sample_name(part.source, int(part.tried[place])) for place in islice(places, MAX_NAMES)]

    labels = part.labels[part.positions]
    counts = np.bincount(labels[labels >= 0], minlength=len(part.class_names)).tolist()
    report = PartReport(
        name=part.name,
        num_samples=len(part.positions),
        num_read=len(tally),
        are_images=tally.are_images,
        shapes=dict(tally.shapes.most_common()),
        dtypes=dict(tally.dtypes.most_common()),
        class_counts=dict(zip(map(str, part.class_names), counts)),
        num_unlabelled=int((labels < 0).sum()),
        num_unreadable=len(tally.unreadable),
        unreadable=list(map(Unreadable, names(tally.unreadable), tally.unreadable.values())),
        num_constant=len(tally.constant),
        constant=names(tally.constant),
        num_not_finite=len(tally.not_finite),
        not_finite=names(tally.not_finite),
    )
    if differs_by_call(part.source, part.tried):
        return dataclasses.replace(report, num_duplicates=None)
    repeats, firsts = _repeats(tally.digests)
    conflicts = part.labels[part.tried[repeats]] != part.labels[part.tried[firsts]]
    return dataclasses.replace(
        report,
        num_duplicates=len(repeats),
        num_conflicts=int(conflicts.sum()),
        duplicates=list(map(Duplicate, names(repeats), names(firsts))),
    )


def _repeats(digests: NDArray[np.bytes_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of samples that repeat an earlier one, and the place of the first of their kind."""
    places = np.flatnonzero(digests != b"")
    _, first, inverse = np.unique(digests[places], return_index=True, return_inverse=True)
    firsts = places[first[inverse]]
    repeated = firsts != places
    return places[repeated], firsts[repeated]


def _shared(part: _Part, digests: NDArray[np.bytes_], other: _Part, other_digests: NDArray[np.bytes_]) -> SharedSamples:
    """Return the samples of a part that another one has, too."""
    places = np.flatnonzero(np.isin(digests, other_digests) & (digests != b""))
    known, firsts = np.unique(other_digests, return_index=True)
    pairs = [
        Duplicate(sample_name(part.source, int(part.tried[place])), sample_name(other.source, int(other.tried[first])))
        for place, first in zip(places[:MAX_NAMES], firsts[np.searchsorted(known, digests[places[:MAX_NAMES]])])
    ]
    return SharedSamples(part.name, other.name, len(places), pairs)
