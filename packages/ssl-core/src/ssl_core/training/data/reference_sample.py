"""The training images of the kNN and the final table: a seeded sample, balanced over the classes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssl_core.batch import views_of
from ssl_core.distributed.ranks import Distributed
from ssl_core.training.data.checks import checked_batches

Read = Callable[[Iterable[Any]], Iterable[Any]]  # passes batches on, e.g. until a signal arrives


@dataclass
class ReferenceSample:
    """Up to ``limit`` labelled images of the reference loader, with equal numbers of each class where possible.

    The sample is a function of the labels and the seed alone: it is the same in each evaluation and for any number of ranks.
    Of a :class:`~ssl_core.training.data.protocol.ReferenceLoader` only the sample is read. Any other loader is read once for
    its labels, and in each evaluation the images outside of the sample are read and dropped before the model sees them.
    """

    loader: Any  # the reference loader
    num_classes: int
    limit: int  # images, over all ranks; 0: all of them
    seed: int
    distributed: Distributed

    def __post_init__(self) -> None:
        self._chosen: Any = None  # the loader of the sample
        self._ids: Tensor | None = None  # of the sample, if the loader gives more than that

    def batches(self, read: Read = iter) -> Iterable[Any]:
        """Return the batches ``(views, labels, ids)`` of the sample; all ranks take the same number of them.

        ``read`` is applied to each pass over the loader.
        """
        if self._chosen is None:
            self._chosen = self._choose(read)
        found = self._read(self._chosen, read)
        return found if self._ids is None else self._restricted(found, self._ids)

    def _read(self, loader: Any, read: Read) -> Iterable[Any]:
        return read(checked_batches(loader, "reference", self.num_classes, single_view=True))

    def _choose(self, read: Read) -> Any:
        """Return the loader to read, and note the ids to keep where it cannot be restricted to them."""
        if not self.limit:
            return self.loader
        if hasattr(self.loader, "labels") and hasattr(self.loader, "subset"):
            labels = torch.as_tensor(self.loader.labels)
            chosen = balanced_sample(labels, self.limit, self.seed)
            return self.loader.subset(chosen.numpy()) if len(chosen) < int((labels >= 0).sum()) else self.loader
        found = [(index, label) for _, label, index in self._read(self.loader, read)]
        ids, labels = (self._gathered(column) for column in (zip(*found) if found else ([], [])))
        order = ids.argsort()
        chosen = balanced_sample(labels[order], self.limit, self.seed)
        if len(chosen) < int((labels >= 0).sum()):
            self._ids = ids[order][chosen]
        return self.loader

    def _gathered(self, column: Sequence[Tensor]) -> Tensor:
        rows = torch.cat([*column]) if column else torch.zeros(0, dtype=torch.int64)
        return self.distributed.gather(rows.to(self.distributed.device)).cpu()

    def _restricted(self, batches: Iterable[Any], ids: Tensor) -> Iterator[Any]:
        for views, labels, index in batches:
            kept = torch.isin(index, ids.to(index.device))
            if self.distributed.any(bool(kept.any())):  # the ranks go through the model together
                yield [view[kept] for view in views_of(views)], labels[kept], index[kept]


def balanced_sample(labels: Tensor, limit: int, seed: int) -> Tensor:
    """Return the positions of up to ``limit`` labelled samples, ascending: one of each class, then a second of each, ...

    ``labels`` are ``(M,) int64``, -1 for none. The seed chooses the samples of a class, and the classes that have one more
    where ``limit`` is not a multiple of their number.

    Examples
    --------
    >>> labels = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, -1, 2])
    >>> labels[balanced_sample(labels, 5, seed=0)].bincount().tolist()
    [2, 2, 1]
    """
    known = (labels >= 0).nonzero()[:, 0]
    if len(known) <= limit:
        return known
    order = known[torch.randperm(len(known), generator=torch.Generator().manual_seed(seed))]
    by_class = labels[order].argsort(stable=True)
    counts = labels[order].bincount()
    number = torch.empty_like(by_class)  # of a sample among those of its class
    number[by_class] = torch.arange(len(order)) - (counts.cumsum(0) - counts)[labels[order][by_class]]
    return order[number.argsort(stable=True)[:limit]].sort().values
