"""Reader of offline evaluations, ``<run>/eval/<name>.json``."""

import math
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_eval.runs.run_summary import is_count, is_number, parse_object

if TYPE_CHECKING:
    from torch import Tensor


class EvaluationRecord:
    """One offline evaluation of a checkpoint. The file is read at construction.

    The file holds an object with ``protocol`` (text), ``step`` (of the checkpoint) and ``metrics`` (name -> number, or
    ``{"mean", "std", "n"}`` over draws); accuracies are fractions. It may hold ``epoch``, ``dataset``, ``settings`` and the
    data of figures: ``per_class``, ``confusion``, ``reliability``, ``spectrum``, ``map``, ``hits``, ``pictures``. Files of any
    program in this format can be read.

    Parameters
    ----------
    path : str or Path
        The file.

    Attributes
    ----------
    path : Path
        The file.
    name : str
        Name of the file without its suffix: the protocol, and ``_step_<n>`` for another than the newest checkpoint.
    protocol, dataset : str
        ``dataset`` is empty where the file has none.
    step : int
        Optimizer step of the checkpoint.
    epoch : int or None
        Epoch of the checkpoint; None where the file has none.
    metrics : dict
        Name -> number, or ``{"mean", "std", "n"}`` over draws.
    values : dict
        The contents of the file.

    Raises
    ------
    ValueError
        If the file is damaged, or a part of it is invalid: the message names both.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.name = self.path.stem
        try:
            self.values: dict[str, Any] = parse_object(self.path.read_bytes())
        except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are both
            raise ValueError(f"'{self.path}' is damaged: {error}") from error
        self.protocol = str(self._part("protocol", str))
        self.dataset = str(self._part("dataset", str, default=""))
        self.step = int(self._part("step", int))
        self.epoch = self._part("epoch", int, default=None)
        self.metrics = {name: v for name, v in self._part("metrics", dict).items() if v is not None}
        for name, value in self.metrics.items():
            if not is_number(_mean(value)):
                raise ValueError(f"'{self.path}': metric {name!r} must be a number or have a 'mean', got {value!r}")

    def check(self) -> None:
        """Read every part; raise ``ValueError`` for the first that is invalid."""
        _ = self.class_names, self.per_class, self.confusion, self.reliability, self.spectrum, self.maps, self.hits
        _ = self.pictures

    @property
    def of_newest(self) -> bool:
        """Whether it evaluated the checkpoint that was the newest at that time."""
        return self.series == self.name

    @property
    def series(self) -> str:
        """The name that the evaluations of all checkpoints by one protocol share: without ``_step_<n>``."""
        return re.sub(r"_step_\d+$", "", self.name)

    def value(self, name: str) -> float | None:
        """Return a metric, the mean of its draws where it has several; None where it is missing or not a number."""
        value = _mean(self.metrics.get(name, math.nan))
        return None if math.isnan(value) else float(value)

    @cached_property
    def class_names(self) -> list[str]:
        """The names of the classes; their numbers if the file has no names."""
        names = self._part("per_class", dict, default={}).get("names")
        if names is None:
            per_class = self._part("per_class", dict, default={}).get("accuracy") or self.values.get("confusion") or []
            names = list(range(len(per_class))) if isinstance(per_class, list) else per_class
        if not isinstance(names, list):
            raise ValueError(f"'{self.path}': the classes of 'per_class' must be a list, got {names!r}")
        return [str(name) for name in names]

    @cached_property
    def per_class(self) -> "Tensor | None":
        """``(K,) float64``: the accuracy of each class; NaN for one without samples."""
        found = self._part("per_class", dict, default={}).get("accuracy")
        return None if found is None else self._numbers("per_class", found, (len(self.class_names),))

    @cached_property
    def confusion(self) -> "Tensor | None":
        """``(K, K) float64``: samples of each class (row) given to each class (column)."""
        found = self.values.get("confusion")
        return None if found is None else self._numbers("confusion", found, (len(self.class_names),) * 2)

    @cached_property
    def reliability(self) -> "tuple[Tensor, Tensor, Tensor] | None":
        """Confidence, accuracy and count of each bin, each ``(bins,) float64``."""
        found = self._part("reliability", dict, default=None)
        if found is None:
            return None
        counts = found.get("count", [])
        length = (len(counts) if isinstance(counts, list) else 0,)
        parts = [self._numbers("reliability", found.get(p, []), length) for p in ("confidence", "accuracy", "count")]
        return parts[0], parts[1], parts[2]

    @cached_property
    def spectrum(self) -> "Tensor | None":
        """``(D,) float64``: the eigenvalues of the features' covariance, falling."""
        found = self._part("spectrum", list, default=None)
        return None if found is None else self._numbers("spectrum", found, (len(found),))

    @cached_property
    def maps(self) -> "dict[str, Tensor]":
        """Kind (``pca``, ``tsne``) -> ``(N, 2) float64``, the coordinates of the samples; ``map_labels`` has their labels."""
        found = self._part("map", dict, default={})
        kinds = [kind for kind in found if kind != "labels"]
        return {kind: self._numbers(f"map, {kind}", found[kind], (len(self.map_labels), 2)) for kind in kinds}

    @cached_property
    def map_labels(self) -> "Tensor":
        """``(N,) int64``: the labels of the samples in :attr:`maps`."""
        labels = self._part("map", dict, default={}).get("labels", [])
        if not isinstance(labels, list):
            raise ValueError(f"'{self.path}': 'map, labels' must be a list, got {labels!r}")
        return self._numbers("map, labels", labels, (len(labels),)).long()

    @cached_property
    def hits(self) -> "Tensor | None":
        """``(M,) bool``: which test samples were classified correctly. None without numpy, which reads it."""
        name = self._part("hits", str, default=None)
        if name is None:
            return None
        try:
            import numpy as np
        except ImportError:
            return None
        import torch

        path = self.path.parent.parent / name
        try:
            hits = torch.from_numpy(np.load(path, allow_pickle=False))
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(f"'{self.path}' names hits that cannot be read: '{path}': {error}") from error
        if hits.dtype != torch.bool or hits.ndim != 1:
            raise ValueError(f"'{path}' must be (M,) bool, got {hits.dtype} {tuple(hits.shape)}")
        return hits

    @cached_property
    def pictures(self) -> dict[str, Path]:
        """Name -> PNG file in the folder of the evaluation; those that exist."""
        found: dict[str, Path] = {}
        for name, file in self._part("pictures", dict, default={}).items():
            if (
                not isinstance(file, str)
                or Path(file).parent != Path(self.path.parent.name)
                or Path(file).suffix != ".png"
            ):
                raise ValueError(
                    f"'{self.path}': picture {name!r} must be a .png file in '{self.path.parent.name}', got {file!r}"
                )
            path = self.path.parent / Path(file).name
            if path.is_file() and not path.is_symlink():
                found[str(name)] = path
        return found

    def hits_of(self, name: str) -> "Tensor | None":
        """Return the hits if they are those of this metric: their share is its value."""
        value = self.value(name)
        if (
            value is None
            or self.hits is None
            or not math.isclose(float(self.hits.double().mean()), value, abs_tol=1e-6)
        ):
            return None
        return self.hits

    def _part(self, name: str, kind: type, **default: Any) -> Any:
        value = self.values.get(name)
        if value is None and default:
            return default["default"]
        if not isinstance(value, kind) or (kind is int and not is_count(value)):
            raise ValueError(f"'{self.path}': {name!r} must be of type {kind.__name__}, got {value!r}")
        return value

    def _numbers(self, name: str, values: Any, shape: tuple[int, ...]) -> "Tensor":
        import torch

        try:
            numbers = torch.tensor(_without_none(values), dtype=torch.float64)
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise ValueError(f"'{self.path}': {name!r} must hold numbers: {error}") from error
        if numbers.shape != shape and numbers.numel() + math.prod(shape) > 0:
            raise ValueError(f"'{self.path}': {name!r} must be {shape}, got {tuple(numbers.shape)}")
        return numbers.view(shape)


def _mean(value: Any) -> Any:
    return value.get("mean") if isinstance(value, dict) else value


def _without_none(values: Any) -> Any:
    """Return nested lists with NaN for JSON's null."""
    if isinstance(values, list):
        return [_without_none(value) for value in values]
    return math.nan if values is None else values
