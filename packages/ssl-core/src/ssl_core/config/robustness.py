"""The configurations of evaluations on changed images: ``eval.corruptions`` and ``eval.shifts``. Nothing here imports torch."""

from dataclasses import dataclass

from ssl_core.config.schema import option
from ssl_core.errors import ConfigError


@dataclass
class Corruptions:
    """Robustness to corruptions of the test images, by the probes of the protocol fitted to clean training images.

    Hendrycks & Dietterich 2019, https://arxiv.org/abs/1903.12261.
    """

    names: list[str] = option([])  # corruptions, e.g. [fog, snow]; []: those of the benchmark
    severities: list[int] = option([1, 2, 3, 4, 5], low=1, high=5)  # severities of each corruption, from 1 to 5
    reference: str | None = None  # run for the mCE, already evaluated by this protocol; null: no mCE
    seed: int = option(0, low=0)  # random seed of the corruptions

    def check(self) -> None:
        """Raise a ConfigError for no severity, or one that is named twice."""
        for key, values in (("severities", self.severities), ("names", self.names)):
            if len(set(values)) < len(values) or (key == "severities" and not values):
                raise ConfigError(key=f"eval.corruptions.{key}", value=values, expected="each one once")


@dataclass
class Shifts:
    """Test sets of other images of the training classes, or of some of them: ImageNet-A, -R, -Sketch, -V2."""

    folders: list[str] = option([])  # with a folder for each class, named as the training class or by its number

    def check(self) -> None:
        """Raise a ConfigError without a folder, and for two folders of the same name."""
        names = [folder.rstrip("/").rpartition("/")[2] for folder in self.folders]
        if not names or len(set(names)) < len(names):
            expected = "one or more folders with different names, e.g. [data/imagenet-a,data/imagenet-r]"
            raise ConfigError(key="eval.shifts.folders", value=self.folders, expected=expected)
