"""The keys of each method, ``model.KEY=VALUE``: one page for all, which needs no torch."""

from dataclasses import dataclass

from ssl_core.config import ModelConfig, option
from ssl_core.errors import ConfigError


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


@dataclass
class BarlowTwinsConfig(JointEmbeddingConfig):
    """Keys of Barlow Twins."""

    projector: list[int] = option([2048, 2048, 2048])  # widths of the projector's layers, the last is the embedding's D
    redundancy: float = option(0.0051, low=0.0)  # weight of the off-diagonal terms, the paper's lambda
    loss_scale: float = option(1.0, above=0.0)  # of the whole loss; the authors' code has 1/32 at large D


@dataclass
class SimCLRConfig(JointEmbeddingConfig):
    """Keys of SimCLR."""

    temperature: float = option(0.2, above=0.0)  # of the similarities; the paper's 0.5 at 32 pixels, 0.1 at 224


@dataclass
class SupervisedConfig(ModelConfig):
    """Keys of supervised learning."""

    label_smoothing: float = option(0.0, low=0.0, below=1.0)  # probability spread over all classes (Szegedy 2016)


@dataclass
class VICRegConfig(JointEmbeddingConfig):
    """Keys of VICReg."""

    projector: list[int] = option([2048, 2048, 2048])  # widths of the projector's layers, the last is the embedding's D
    invariance: float = option(25.0, low=0.0)  # weight of the distance between the views
    variance: float = option(25.0, low=0.0)  # weight of the hinge on each dimension's standard deviation
    covariance: float = option(1.0, low=0.0)  # weight of the off-diagonal covariance


@dataclass
class WMSEConfig(JointEmbeddingConfig):
    """Keys of W-MSE."""

    projector: list[int] = option([1024, 64])  # widths of the projector's layers, the last is the embedding's D
    whitening_size: int = option(128, low=2)  # samples whitened together; more than D of them


CONFIGS: dict[str, type[ModelConfig]] = {
    "barlow_twins": BarlowTwinsConfig,
    "baseline": ModelConfig,
    "simclr": SimCLRConfig,
    "supervised": SupervisedConfig,
    "vicreg": VICRegConfig,
    "w_mse": WMSEConfig,
}
