"""The log of a run: lines of metrics, images and the progress bar."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssl_core.diagnostics.collapse import CollapseDetector
from ssl_core.distributed.ranks import Distributed
from ssl_core.loggers.images import save_image
from ssl_core.loggers.metrics_logger import MetricsLogger
from ssl_core.loggers.progress_bar import ProgressBar
from ssl_core.loggers.throughput import Throughput
from ssl_core.run.folder import RunFolder
from ssl_core.run.progress import Progress
from ssl_core.training.early_stopping import EarlyStopping
from ssl_core.training.loss_module import total_loss

_message = logging.getLogger(__name__)


@dataclass(kw_only=True)
class RunLog:
    """Writes what happens in training and evaluation to ``metrics.jsonl``, to the sinks and to the progress bar."""

    folder: RunFolder
    metrics: MetricsLogger
    throughput: Throughput
    bar: ProgressBar
    progress: Progress
    early_stopping: EarlyStopping  # checks that the monitored metric is logged
    collapse: CollapseDetector  # observes the loss
    distributed: Distributed
    logs_weight_decay: bool  # whether train/weight_decay changes

    def step(
        self, terms: Mapping[str, Tensor], probes: Mapping[str, Tensor], norm: Tensor, optimizer: torch.optim.Optimizer
    ) -> None:
        """Write the ``train/...`` metrics of an optimizer step, means over the ranks. It waits for the device.

        Parameters
        ----------
        terms, probes
            Terms of the loss and losses of the online probes by name, scalars. ``train/loss`` is the sum of the terms;
            several terms are logged one by one, too.
        norm
            Norm of the gradients before clipping.
        optimizer
            For learning rate and weight decay.
        """
        values = {"train/loss": total_loss(terms).detach(), "train/grad_norm": norm}
        if len(terms) > 1:
            values |= {f"train/{name}": term.detach() for name, term in terms.items()}
        values |= {f"train/probe_{name}_loss": value for name, value in probes.items()}
        means = self.distributed.mean(torch.stack([value.double() for value in values.values()])).tolist()
        line = dict(zip(values, means)) | {"train/lr": optimizer.param_groups[0]["lr"]}
        if self.logs_weight_decay:
            line["train/weight_decay"] = max(group.get("weight_decay", 0.0) for group in optimizer.param_groups)
        line["train/images_per_second"] = self.throughput.rate()
        self.early_stopping.check(line, logged=True)
        self.collapse.observe(self.progress.step, line)
        self.metrics.log(self.progress.step, self.progress.epoch, line)
        self.bar.show(self.progress.epoch, line["train/loss"])

    def evaluation(self, values: Mapping[str, float]) -> None:
        """Write the metrics of an evaluation, if there are any."""
        if values:
            self.metrics.log(self.progress.step, self.progress.epoch, values)
            line = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
            _message.info("epoch %d: %s", self.progress.epoch, line)

    def image(self, name: str, image: Any) -> None:
        """Save an image and show it in the sinks, on rank 0; does nothing in a replay."""
        if self.metrics.writes:
            path = save_image(self.folder, self.progress.step, name, image)
            self.metrics.log_image(self.progress.step, name, path)
