"""The metrics of an evaluation: accuracy of the prediction, of each probe and of kNN, exact on any number of ranks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssl_core.diagnostics.collapse import CollapseDetector
from ssl_core.distributed.ranks import Distributed
from ssl_core.errors import ConfigError
from ssl_core.evaluation.features import collect_features, collect_view_features, full_size_views
from ssl_core.evaluation.online_probes import OnlineProbes
from ssl_eval import AccuracyCounter, knn, label_free
from ssl_eval.metrics.registry import OF_VIEWS
from ssl_losses.precision import widen

VIEW_SAMPLES = 1000  # training images whose views are compared, as many as LiDAR's paper takes


def names_of_evaluation(
    representations: Iterable[str], prediction: Tensor, num_classes: int, has_bank: bool, label_free: Sequence[str]
) -> list[str]:
    """Return the names of the metrics of an evaluation, before training.

    ``prediction`` is an output of ``forward``; ``has_bank``: whether there is kNN. The others are as in
    :class:`OnlineMetrics`.
    """
    names = list(representations)
    found = [f"{measure}_{name}" for measure in ("std", "rank") for name in names] + list(label_free)
    if prediction.ndim == 2 and prediction.shape[1] == num_classes:
        found.append("accuracy")
    if num_classes > 1:
        found += [f"probe_{name}" for name in names] + ["knn"] * has_bank
    return found


@dataclass
class OnlineMetrics:
    """Counts correct predictions; counts are summed over the ranks, so that accuracies are exact."""

    num_classes: int
    probes: OnlineProbes
    distributed: Distributed
    collapse: CollapseDetector  # gets the representations, too
    label_free: Sequence[str] = ()  # measures (ssl_eval.metrics.registry.LABEL_FREE) of the first representation

    def __post_init__(self) -> None:
        self._features: list[Tensor] = []  # of the first representation, if label-free measures need them
        self._counters: dict[str, AccuracyCounter] = {}
        self._bank: tuple[Tensor, Tensor] | None = None
        self._views: Tensor | None = None

    def fill(
        self, reference: Any, train: Any, features: Callable[[Tensor], Tensor], stop_aware: Callable[[Any], Any]
    ) -> None:
        """Extract the features that an evaluation compares with: the kNN bank and, if a metric needs them, views.

        Parameters
        ----------
        reference : ReferenceSample or None
            The training images of the kNN bank; None: no kNN.
        train : Loader
            Gives the views.
        features, stop_aware : callable
            Returns features ``(N, D)`` of images ``(N, C, H, W)``; passes batches on, and raises when the run is stopped.
        """
        if reference is not None and self.num_classes > 1:
            bank, labels = collect_features(reference.batches(stop_aware), features, self.distributed)
            if len(bank):
                self._bank = bank, labels
        if compares_views(self.label_free):
            loader = stop_aware(train.start(0, 0))
            self._views = collect_view_features(loader, features, self.distributed, VIEW_SAMPLES)

    def add(self, prediction: Tensor, representations: Mapping[str, Tensor], labels: Tensor) -> None:
        """Add one batch: the output of ``forward``, what ``encode`` gave, and the labels (-1: not counted)."""
        self.collapse.add(representations)
        if self.label_free:
            self._features.append(widen(next(iter(representations.values()))))
        known = labels >= 0
        labels = labels[known]
        if prediction.ndim == 2 and prediction.shape[1] == self.num_classes:  # else it is no classification
            self._count("accuracy", widen(prediction[known]), labels)
        for name, features in representations.items():
            if name in self.probes:
                self._count(f"probe_{name}", self.probes.scores(name, features[known]), labels)
        if self._bank is not None:
            features = widen(next(iter(representations.values()))[known])
            votes = features.new_zeros((0, self.num_classes))  # of a rank whose share of a last batch is empty
            if len(features):
                k = min(20, len(self._bank[0]))
                votes = knn(*self._bank, features, k=k, num_classes=self.num_classes)
            self._count("knn", votes, labels)

    def compute(self) -> dict[str, float]:
        """Return the accuracies and the label-free measures over all ranks, and reset the counts.

        The bank of the kNN and the views are kept.
        """
        values: dict[str, float] = {}
        for name, counter in self._counters.items():
            counter.counts = self.distributed.sum(counter.counts)
            if counter.counts[0] > 0:  # else no image of this set has a label
                values[name] = counter.compute()["top1"]
        self._counters = {}
        if self._features:
            features = self.distributed.gather(torch.cat(self._features))
            values |= label_free(features, self._views, measures=self.label_free)
            self._features = []
        return values | self.collapse.compute()

    def _count(self, name: str, scores: Tensor, labels: Tensor) -> None:
        if name not in self._counters:
            self._counters[name] = AccuracyCounter(topk=(1,), device=labels.device)
        self._counters[name].update(scores, labels)


def compares_views(label_free: Sequence[str]) -> bool:
    """Return whether one of these measures compares the views of an image."""
    return not {*OF_VIEWS}.isdisjoint(label_free)


def check_number_of_views(loader: Iterable[Any], label_free: Sequence[str]) -> None:
    """Raise a ConfigError if an image of the loader has one view, and a measure asks for several. Looks at the first batch."""
    if compares_views(label_free) and len(full_size_views(next(iter(loader))[0])) < 2:
        name = next(name for name in label_free if name in OF_VIEWS)
        raise ConfigError(f"log.label_free: {name!r} compares the views of an image, and data.views gives one of each")
