"""The keys of each method, ``model.KEY=VALUE``: one page for all, which needs no torch."""

from dataclasses import dataclass

from ssl_core.config import ModelConfig, OptimConfig, option
from ssl_core.errors import ConfigError

# Ranges of the losses, written down so that a configuration is checked without importing torch; a test compares each with
# what its loss accepts
TEMPERATURE = {"low": 1e-6}  # ssl_losses.checks.LOWEST_TEMPERATURE
WEIGHT = {"low": 0.0}  # ssl_losses.checks.check_weights


@dataclass
class JointEmbeddingConfig(ModelConfig):
    """Keys of every joint-embedding method."""

    projector: list[int] = option([2048, 128])  # widths of the projector's layers, the last is the embedding's D

    def check(self) -> None:
        """Refuse a projector without layers, or with a layer of no units."""
        super().check()
        if not self.projector or min(self.projector) < 1:
            raise ConfigError(
                f"model.projector={self.projector}: expected the widths of at least one layer, each at least 1, "
                "e.g. [2048, 128]"
            )

    def check_batch(self, optim: OptimConfig) -> None:
        """Raise a ConfigError for a batch of one sample: there is nothing to compare it with, or to normalise it by."""
        if optim.epochs and optim.batch_size < 2:
            raise ConfigError(
                f"optim.batch_size={optim.batch_size}: model.name={self.name!r} compares the samples of a batch; expected at "
                "least 2"
            )


@dataclass
class BarlowTwinsConfig(JointEmbeddingConfig):
    """Keys of Barlow Twins."""

    projector: list[int] = option([2048, 2048, 2048])  # widths of the projector's layers, the last is the embedding's D
    redundancy: float = option(0.0051, **WEIGHT)  # weight of the off-diagonal terms, the paper's lambda
    loss_scale: float = option(1.0, above=0.0)  # of the whole loss; the authors' code has 1/32 at large D


@dataclass
class SimCLRConfig(JointEmbeddingConfig):
    """Keys of SimCLR."""

    temperature: float = option(0.2, **TEMPERATURE)  # of the similarities; the paper's 0.5 at 32 pixels, 0.1 at 224


@dataclass
class SupervisedConfig(ModelConfig):
    """Keys of supervised learning."""

    label_smoothing: float = option(0.0, low=0.0, below=1.0)  # probability spread over all classes (Szegedy 2016)


@dataclass
class VICRegConfig(JointEmbeddingConfig):
    """Keys of VICReg."""

    projector: list[int] = option([2048, 2048, 2048])  # widths of the projector's layers, the last is the embedding's D
    invariance: float = option(25.0, **WEIGHT)  # weight of the distance between the views
    variance: float = option(25.0, **WEIGHT)  # weight of the hinge on each dimension's standard deviation
    covariance: float = option(1.0, **WEIGHT)  # weight of the off-diagonal covariance


@dataclass
class WMSEConfig(JointEmbeddingConfig):
    """Keys of W-MSE."""

    projector: list[int] = option([1024, 64])  # widths of the projector's layers, the last is the embedding's D
    whitening_size: int = option(128, low=2)  # samples whitened together; more than D of them

    def check(self) -> None:
        """Raise a ConfigError for a whitening matrix that has no inverse."""
        super().check()
        if self.whitening_size <= self.projector[-1]:
            raise ConfigError(
                f"model.whitening_size={self.whitening_size}: expected more samples than the {self.projector[-1]} dimensions "
                f"of the embedding (model.projector={self.projector}); twice as many are usual"
            )

    def check_batch(self, optim: OptimConfig) -> None:
        """Raise a ConfigError for an optimizer step of fewer samples than are whitened together."""
        super().check_batch(optim)
        samples = optim.batch_size * optim.accumulation_steps
        if optim.epochs and samples < self.whitening_size:
            accumulated = (
                f", optim.accumulation_steps={optim.accumulation_steps}" if optim.accumulation_steps > 1 else ""
            )
            raise ConfigError(
                f"optim.batch_size={optim.batch_size}{accumulated}: expected at least model.whitening_size="
                f"{self.whitening_size} samples; raise the batch size, or lower model.whitening_size and the last width of "
                "model.projector"
            )


CONFIGS: dict[str, type[ModelConfig]] = {
    "barlow_twins": BarlowTwinsConfig,
    "baseline": ModelConfig,
    "simclr": SimCLRConfig,
    "supervised": SupervisedConfig,
    "vicreg": VICRegConfig,
    "w_mse": WMSEConfig,
}
