"""The batches of a run on this rank, checked and on the device."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from ssl_core.batch import Batch, to_device
from ssl_core.distributed.ranks import Distributed
from ssl_core.errors import ConfigError
from ssl_core.run.progress import Progress
from ssl_core.training.data.checks import checked_batches, loader_with_crops, training_batches
from ssl_core.training.data.protocol import Loaders
from ssl_core.training.seeding import seed_step
from ssl_core.training.step_plan import StepPlan


@dataclass(kw_only=True)
class Batches:
    """Gives the batches of training and evaluation."""

    loaders: Loaders
    plan: StepPlan
    progress: Progress  # training begins at batch `batch` of epoch `epoch`
    distributed: Distributed
    dtype: torch.dtype | None  # floating-point type of the views; None: unchanged
    seed: int  # hardware.seed
    crops: bool = False  # whether training batches have the crops of their views
    begin_phase: Callable[[str], Any] = str  # of the profiler: "data" before a batch is loaded, "other" after it

    def training(self) -> Iterator[Batch]:
        """Yield the rest of an epoch. Seeds each batch by its epoch and number, so that a resumed run draws the same."""
        progress, loader = self.progress, self.loaders.train
        if self.crops:
            loader = loader_with_crops(loader)
        loader.start(progress.epoch, progress.batch)
        batches = training_batches(loader, self.loaders.num_classes)
        while progress.batch < self.plan.batches_per_epoch:  # the loop counts
            self.begin_phase("data")
            batch = self._on_device(next(batches))
            self.begin_phase("other")
            seed_step(self.seed, progress.epoch, progress.batch, self.distributed.rank)
            yield batch

    def in_order(self) -> Iterator[Batch]:
        """Yield every training sample once, in the order of the data set, with its views of the present epoch.

        Raises
        ------
        ConfigError
            If the training loader cannot do so.
        """
        if not hasattr(self.loaders.train, "in_order"):
            raise ConfigError(
                "data: the training loader has no in_order(), which this method needs for a pass over all samples: see "
                "ssl_core/training/data/protocol.py"
            )
        loader = self.loaders.train.in_order()
        loader.start(self.progress.epoch, 0)
        return map(self._on_device, checked_batches(loader, "training", self.loaders.num_classes))

    def evaluation(self, name: str) -> Iterator[Batch]:
        """Yield the batches of an evaluation set."""
        batches = checked_batches(self.loaders.evaluation[name], name, self.loaders.num_classes, single_view=True)
        return map(self._on_device, batches)

    def _on_device(self, batch: Any) -> Batch:
        return to_device(batch, self.distributed.device, self.dtype)
