"""The configuration of an evaluation on other data sets, the group ``eval.transfer``. Nothing here imports torch."""

import os
from dataclasses import dataclass, field

from ssl_core.config.schema import option
from ssl_core.config.suggestion import unknown_name
from ssl_core.errors import ConfigError

METRICS = ("accuracy", "mean_per_class", "voc_map")  # top-1, mean of the classes' accuracies, 11-point mAP
# Of Kornblith et al. 2019, table 1, all that torchvision reads
DATASETS = (
    "Food101", "CIFAR10", "CIFAR100", "StanfordCars", "FGVCAircraft", "VOC2007", "DTD", "OxfordIIITPet", "Caltech101",
    "Flowers102",
)  # fmt: skip


def _root() -> str:
    return os.environ.get("SSL_DATA_ROOT", "data")


@dataclass
class Transfer:
    """Transfer to other data sets: a linear probe on frozen features of the training images of each.

    Kornblith et al. 2019, https://arxiv.org/abs/1805.08974: each data set has its customary metric.
    """

    datasets: list[str] = option(list(DATASETS))  # names of torchvision, or folders with train/CLASS and test/CLASS
    root: str = field(default_factory=_root)  # folder of the named data sets; default $SSL_DATA_ROOT
    metrics: dict = option({})  # data set -> accuracy, mean_per_class or voc_map; default: its customary metric
    download: bool = False  # fetch what is missing, if there is a network
    seed: int = option(0, low=0)  # random seed of held-out images and of splits that are drawn

    def check(self) -> None:
        """Raise a ConfigError without a data set, for two of one name, and for a metric that is unknown or of no data set."""
        names = [name.rstrip("/").rpartition("/")[2] for name in self.datasets]
        if not names or len(set(names)) < len(names):
            expected = "each one once, at least one, and folders with different names"
            raise ConfigError(key="eval.transfer.datasets", value=self.datasets, expected=expected)
        for name, metric in self.metrics.items():
            if name not in self.datasets:
                raise unknown_name(f"eval.transfer.metrics.{name}", name, self.datasets)
            if metric not in METRICS:
                raise unknown_name(f"eval.transfer.metrics.{name}", metric, METRICS)
