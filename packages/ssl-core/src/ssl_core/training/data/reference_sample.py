"""The training images of the kNN and the final table: a seeded sample, balanced over the classes."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from ssl_core.batch import views_of
from ssl_core.distributed.ranks import Distributed
from ssl_core.training.data.checks import checked_batches

Read = Callable[[Iterable[Any]], Iterable[Any]]  # passes batches on, e.g. until a signal arrives


class ReferenceSample:
    """Up to ``limit`` labelled images of the reference loader, with equal numbers of each class where possible.

    The sample is a function of the labels and the seed alone: it is the same in each evaluation and for any number of ranks.
    With ``limit`` images or fewer, all are taken.

    Parameters
    ----------
    loader : Loader
        The reference loader. Where it has ``labels`` and ``subset``
        (:class:`ssl_core.training.data.protocol.ReferenceLoader`), only the
        sample is read. Any other is read once for its labels, and in each evaluation the images outside of the sample are
        read and dropped before the model sees them.
    num_classes : int
        K.
    limit : int
        Images, over all ranks; 0: all of them.
    seed : int
        Of the choice.
    distributed : Distributed
        The ranks.
    """

    def __init__(self, loader: Any, num_classes: int, limit: int, seed: int, distributed: Distributed) -> None:
        self.loader = loader
        self.num_classes = num_classes
        self.limit = limit
        self.seed = seed
        self.distributed = distributed
        self._chosen: Any = None  # the loader of the sample
        self._ids: Tensor | None = None  # of the sample, where the loader gives more than that

    def batches(self, read: Read = iter) -> Iterable[Any]:
        """Return the batches ``(views, labels, ids)`` of the sample; all ranks take the same number of them.

        Parameters
        ----------
        read : function
            Applied to each pass over the loader.
        """
        if self._chosen is None:
            self._chosen = self._choose(read)
        found = read(checked_batches(self._chosen, "reference", self.num_classes, single_view=True))
        return found if self._ids is None else self._restricted(found, self._ids)

    def _choose(self, read: Read) -> Any:
        """Return the loader to read, and note the ids to keep where it cannot be restricted to them."""
        if not self.limit:
            return self.loader
        if hasattr(self.loader, "labels") and hasattr(self.loader, "subset"):
            labels = torch.as_tensor(self.loader.labels)
            chosen = balanced_sample(labels, self.limit, self.seed)
            return self.loader.subset(chosen.numpy()) if len(chosen) < int((labels >= 0).sum()) else self.loader
        found = [
            (label, index)
            for _, label, index in read(checked_batches(self.loader, "reference", self.num_classes, single_view=True))
        ]
        ids = self._gathered([index for _, index in found])
        order = ids.argsort()
        labels = self._gathered([label for label, _ in found])[order]
        chosen = balanced_sample(labels, self.limit, self.seed)
        if len(chosen) < int((labels >= 0).sum()):
            self._ids = ids[order][chosen]
        return self.loader

    def _gathered(self, column: list[Tensor]) -> Tensor:
        rows = torch.cat(column) if column else torch.zeros(0, dtype=torch.int64)
        return self.distributed.gather(rows.to(self.distributed.device)).cpu()

    def _restricted(self, batches: Iterable[Any], ids: Tensor) -> Iterator[Any]:
        for views, labels, index in batches:
            kept = torch.isin(index, ids.to(index.device))
            if self.distributed.any(bool(kept.any())):  # the ranks go through the model together
                yield [view[kept] for view in views_of(views)], labels[kept], index[kept]


def balanced_sample(labels: Tensor, limit: int, seed: int) -> Tensor:
    """Return the positions of up to ``limit`` labelled samples, ascending: one of each class, then a second of each, ...

    Parameters
    ----------
    labels : Tensor
        ``(M,) int64``; -1 for none.
    limit : int
        Samples.
    seed : int
        Which samples of a class, and which classes have one more where ``limit`` is not a multiple of their number.

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
