"""An untrained backbone, with random or pretrained weights: the baseline of an evaluation."""

from torch import Tensor, nn

from ssl_core.backbones import build_backbone
from ssl_core.base_model import BaseModel
from ssl_core.checkpoint.pretrained import weights_for
from ssl_core.config import Config
from ssl_core.errors import ConfigError
from ssl_core.evaluation.online_probes import OnlineProbes


class Baseline(BaseModel):
    """A backbone that is not trained: a run of 0 epochs whose checkpoint is evaluated like any other."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        epochs = config.optim.epochs
        if epochs:
            raise ConfigError("model.name='baseline' is not trained", key="optim.epochs", value=epochs, expected="0")

    def before_run(self) -> None:
        """Check that the weights fit the images before the run folder is created."""
        if self.config.model.init_from and not self.run.checkpoints.all():
            weights_for(self._backbone(), self.config.model.init_from)

    def initialize_modules(self) -> None:
        """Create the backbone, with random weights or those of ``model.init_from``."""
        self.backbone = self._backbone()
        if self.run.writes:
            self.run.summary.ending = "baseline"

    def initialize_probes(self) -> None:
        """Create no probes: nothing would train them."""
        self.probes = OnlineProbes({}, self.num_classes, self.config.optim.probe_lr, self.run.distributed.device)

    def _backbone(self) -> nn.Module:
        model = self.config.model
        return build_backbone(model.backbone, self.image_shape, **model.backbone_options)

    def forward(self, x: Tensor) -> Tensor:
        """Return an empty prediction ``(N, 0)``: there is no classifier."""
        return x.new_zeros((len(x), 0))
