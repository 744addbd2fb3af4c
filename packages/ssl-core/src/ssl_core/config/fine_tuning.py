"""The configuration of fine-tuning, the group ``eval.finetune``. Nothing here imports torch."""

from dataclasses import dataclass
from typing import Any

from ssl_core.config.schema import OPTIMIZERS, option
from ssl_core.errors import ConfigError


@dataclass
class FineTuning:
    """Fine-tuning of a backbone on shares of the labels, the same way on each. The last epoch is reported.

    1 % and 10 % of the labels, trained with crops and flips alone, are the shares of SimCLR (Chen et al. 2020,
    https://arxiv.org/abs/2002.05709, appendix B.5). AdamW with a learning rate that falls layer by layer, warm-up, half a
    cosine and label smoothing are MAE's (He et al. 2022, https://arxiv.org/abs/2111.06377, appendix A.1).
    """

    fractions: list[float] = option([0.01, 0.1, 1.0], above=0.0, high=1.0)  # shares of the images of each class
    draws: int = option(1, low=1)  # runs for each share, with other images and another initial classifier
    seed: int = option(0, low=0)  # random seed of the first draw
    epochs: int = option(50, low=1)  # passes over the images of a share
    optimizer: str = option("AdamW", choices=OPTIMIZERS)  # optimizer of backbone and classifier
    lr: float = option(1e-3, above=0.0)  # peak learning rate of the classifier
    layer_decay: float = option(0.75, above=0.0, high=1.0)  # factor of the learning rate from a layer to the one below
    weight_decay: float = option(0.05, low=0.0)  # weight decay; never on biases and normalisation parameters
    batch_size: int = option(64, low=1)  # images per batch; all images of a smaller share
    warmup_epochs: float = option(5.0, low=0.0)  # epochs of linear warm-up
    label_smoothing: float = option(0.1, low=0.0, below=1.0)  # probability spread over all classes
    views: Any = ""  # as data.views; "": crops and flips, or those of the run if they are no preset for photographs

    def check(self) -> None:
        """Raise a ConfigError for a warm-up that is longer than the run."""
        if self.warmup_epochs > self.epochs:
            raise ConfigError(
                key="eval.finetune.warmup_epochs",
                value=self.warmup_epochs,
                expected=f"at most eval.finetune.epochs={self.epochs}",
            )
