"""Landmark retrieval by the protocol of revisited Oxford and Paris: mAP and mP@k of easy, medium and hard."""

import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from ssl_eval.probes.vectors import unit_rows
from ssl_eval.results import Result
from ssl_eval.validation import check_pair, computed_in

# Setup -> which images of the ground truth count as found, and which are removed from the ranking
SETUPS = {
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
}
QUERY_CHUNK = 64
_NUMPY = {"numpy.core.multiarray", "numpy._core.multiarray", "numpy"}  # modules of the arrays in the authors' files
_NAMES = {"_reconstruct", "scalar", "ndarray", "dtype"}
_UNREADABLE = (
    ValueError, pickle.UnpicklingError, EOFError, AttributeError, TypeError, IndexError, KeyError, ImportError, MemoryError,
    OverflowError, RecursionError,
)  # fmt: skip
_BYTES = {("_codecs", "encode"), ("__builtin__", "bytes")}  # the numbers of an array, in pickles of protocol 2


@dataclass(frozen=True, eq=False, repr=False)
class LandmarkResult(Result):
    """Result of :func:`landmark_retrieval`, fractions in 0..1; NaN for a setup without a query.

    Attributes
    ----------
    mean_average_precision : dict
        ``easy``, ``medium`` and ``hard`` -> mean over the queries that have such images.
    precision : dict
        The same -> k -> mean precision among the k first images (mP@k).
    queries : dict
        The same -> number of queries counted.
    """

    mean_average_precision: dict[str, float]
    precision: dict[str, dict[int, float]]
    queries: dict[str, int]


@torch.no_grad()
def landmark_retrieval(
    query_features: Tensor,
    gallery_features: Tensor,
    ground_truth: Sequence[Mapping[str, Sequence[int]]],
    ks: Sequence[int] = (1, 5, 10),
) -> LandmarkResult:
    """Rank a gallery by cosine similarity to each query; return mAP and mP@k of easy, medium and hard.

    Easy: the easy images are to be found, hard and junk ones are removed from the ranking. Medium: easy and hard ones are to be
    found. Hard: hard ones are to be found, easy and junk ones are removed.

    Parameters
    ----------
    query_features, gallery_features : Tensor
        ``(M, D)`` and ``(N, D)``.
    ground_truth : sequence of mapping
        M mappings with ``easy``, ``hard`` and ``junk``: indices into the gallery, as in the authors' ``gnd``; see
        :func:`read_ground_truth`.
    ks : sequence of int
        Values of k of the precision. A query whose last image to be found is at rank r below k is measured at r.

    Returns
    -------
    LandmarkResult

    Raises
    ------
    ValueError
        If features hold NaN, shapes disagree, or the ground truth is not of this form, or names an image twice or one that the
        gallery lacks.

    Notes
    -----
    The average precision is the authors': the area under precision and recall by trapezoids, with precision 1 at recall 0. A
    query without an image to be found is left out. Of equal similarities the lower index is first. Memory: 64 N similarities.

    References
    ----------
    Radenović, Iscen, Tolias, Avrithis & Chum: Revisiting Oxford and Paris: Large-Scale Image Retrieval Benchmarking, CVPR 2018,
    https://arxiv.org/abs/1803.11285; https://github.com/filipradenovic/revisitop.

    Examples
    --------
    >>> gallery = torch.tensor([[1.0, 0.0], [0.9, 0.3], [0.0, 1.0], [-1.0, 0.1]])
    >>> found = landmark_retrieval(gallery[:1], gallery, [{"easy": [1], "hard": [2], "junk": [0]}], ks=(1,))
    >>> found.mean_average_precision
    {'easy': 1.0, 'medium': 1.0, 'hard': 1.0}
    """
    check_pair(gallery_features, query_features)
    truth = _checked(ground_truth, len(query_features), len(gallery_features))
    if not ks or min(ks) < 1:
        raise ValueError(f"ks={tuple(ks)}: expected numbers of at least 1")
    dtype = computed_in(query_features, gallery_features)
    gallery = unit_rows(gallery_features, dtype)
    areas: dict[str, list[float]] = {setup: [] for setup in SETUPS}
    precisions: dict[str, list[list[float]]] = {setup: [] for setup in SETUPS}
    for rows in torch.arange(len(query_features)).split(QUERY_CHUNK):
        similarity = unit_rows(query_features[rows.to(query_features.device)], dtype) @ gallery.T
        order = similarity.argsort(dim=1, descending=True, stable=True)
        ranks = torch.empty_like(order).scatter_(
            1, order, torch.arange(len(gallery), device=order.device).expand_as(order)
        )
        for query, rank in zip(rows.tolist(), ranks.cpu()):
            for setup, (wanted, removed) in SETUPS.items():
                positives = torch.cat([truth[query][name] for name in wanted])
                if len(positives):
                    places = _places(rank[positives], rank[torch.cat([truth[query][name] for name in removed])])
                    areas[setup].append(_average_precision(places))
                    last = int(places[-1]) + 1
                    precisions[setup].append([float((places < min(last, k)).sum()) / min(last, k) for k in ks])
    return LandmarkResult(
        {setup: float(torch.tensor(each, dtype=torch.float64).mean()) for setup, each in areas.items()},
        {
            setup: dict(zip(ks, torch.tensor(each, dtype=torch.float64).reshape(-1, len(ks)).mean(0).tolist()))
            for setup, each in precisions.items()
        },
        {setup: len(each) for setup, each in areas.items()},
    )


def read_ground_truth(path: str | Path) -> dict[str, Any]:
    """Return a ground-truth file of revisited Oxford or Paris: ``gnd``, ``imlist`` and ``qimlist``.

    Parameters
    ----------
    path : str or Path
        The authors' ``gnd_roxford5k.pkl``, or the same content as JSON. Of a pickle only plain values and arrays of numbers are
        loaded; it is an error if it names anything else, so that no code of the file runs.

    Raises
    ------
    ValueError
        If the file is neither, lacks a part, or has a part of another form, such as an index that the gallery lacks.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            found = json.load(file) if path.suffix == ".json" else _Unpickler(file, encoding="latin1").load()
    except _UNREADABLE as error:
        raise ValueError(f"'{path}' is not a ground truth of this format: {error}") from error
    missing = [name for name in ("gnd", "imlist", "qimlist") if not isinstance(found, dict) or name not in found]
    if missing:
        raise ValueError(f"'{path}' lacks {', '.join(missing)}; expected the ground truth of revisited Oxford or Paris")
    for part in ("imlist", "qimlist"):
        names = found[part]
        if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
            raise ValueError(f"'{path}': {part} must be a list of names of images, at least one")
    try:
        _checked(found["gnd"], len(found["qimlist"]), len(found["imlist"]))
    except ValueError as error:
        raise ValueError(f"'{path}': {str(error).replace('ground_truth', 'gnd', 1)}") from error
    return found


class _Unpickler(pickle.Unpickler):
    """Loads plain values and numpy arrays only."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        super().__init__(file, encoding=encoding)

    def find_class(self, module: str, name: str) -> Any:
        """Return a function that rebuilds an array; anything else is an error."""
        if (module in _NUMPY and name in _NAMES) or (module, name) in _BYTES:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}, expected plain values and arrays of numbers")


def _checked(
    ground_truth: Sequence[Mapping[str, Sequence[int]]], num_queries: int, num_images: int
) -> list[dict[str, Tensor]]:
    if not isinstance(ground_truth, Sequence) or not all(isinstance(entry, Mapping) for entry in ground_truth):
        raise ValueError("ground_truth must be a sequence of mappings with easy, hard and junk, one for each query")
    if len(ground_truth) != num_queries:
        raise ValueError(f"ground_truth must have an entry for each query, {num_queries}, got {len(ground_truth)}")
    checked = []
    for number, entry in enumerate(ground_truth):
        missing = {"easy", "hard", "junk"} - set(entry)
        if missing:
            raise ValueError(f"ground_truth[{number}] lacks {', '.join(sorted(missing))}; expected easy, hard and junk")
        parts = {name: _indices(f"ground_truth[{number}]: {name}", entry[name]) for name in ("easy", "hard", "junk")}
        named = torch.cat(list(parts.values()))
        if len(named) and not 0 <= int(named.min()) <= int(named.max()) < num_images:
            bad = int(named[(named < 0) | (named >= num_images)][0])
            raise ValueError(f"ground_truth[{number}] names image {bad}; the gallery has {num_images}")
        if len(named.unique()) < len(named):
            raise ValueError(
                f"ground_truth[{number}] names an image twice; expected easy, hard and junk without overlap"
            )
        checked.append(parts)
    return checked


def _indices(name: str, values: Any) -> Tensor:
    """Return indices ``(n,) int64``; of an empty list or array also if its numbers are of another kind."""
    try:
        found = torch.as_tensor(values if isinstance(values, Tensor) else list(values))
    except (TypeError, ValueError, RuntimeError, OverflowError):
        found = torch.tensor(torch.nan)  # text, nested lists of different lengths, ...
    if found.ndim != 1 or (len(found) and (found.is_floating_point() or found.dtype == torch.bool)):
        raise ValueError(f"{name} must be a list of indices into the gallery")
    return found.long()


def _places(positives: Tensor, removed: Tensor) -> Tensor:
    """Return the ranks of positives from 0, ascending, in the ranking without the removed images."""
    ranks = positives.sort().values
    return ranks - torch.searchsorted(removed.sort().values, ranks)


def _average_precision(places: Tensor) -> float:
    """Return the mean over positives of the mean precision just before and at its place (``compute_ap`` of the authors)."""
    found, places = torch.arange(len(places), dtype=torch.float64), places.double()
    before = torch.where(places == 0, 1.0, found / places.clamp(min=1))
    return float(((before + (found + 1) / (places + 1)) / 2).mean())
