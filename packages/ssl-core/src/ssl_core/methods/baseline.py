"""A backbone as it is, random or with weights from elsewhere: what a trained one is judged beside."""

from torch import Tensor, nn

from ssl_core.backbones import build_backbone
from ssl_core.base_model import BaseModel
from ssl_core.checkpoint.pretrained import weights_for
from ssl_core.checkpoint.store import CheckpointStore
from ssl_core.errors import ConfigError
from ssl_core.evaluation.online_probes import OnlineProbes
from ssl_core.run.folder import RunFolder


class Baseline(BaseModel):
    """A backbone that is never trained: a run of no epochs, with a checkpoint to be judged as every other."""

    def open_folder(self) -> None:
        """Refuse to train."""
        epochs = self.config.optim.epochs
        if epochs:
            raise ConfigError(f"optim.epochs={epochs}: model.name='baseline' is a backbone as it is; expected 0")
        super().open_folder()

    def open_data(self) -> None:
        """Refuse weights that do not fit these images before a folder is made for them."""
        super().open_data()
        begun = CheckpointStore(
            RunFolder.of(self.config).checkpoints
        ).all()  # an evaluation opens the data, and no folder
        if self.config.model.init_from and not begun:
            weights_for(self._backbone(), self.config.model.init_from)

    def open_files(self, writes: bool = True) -> None:
        """Let the run end as what it is."""
        super().open_files(writes)
        self.summary.ending = "baseline"

    def initialize_modules(self) -> None:
        """Make the backbone; its weights are random, or those of ``model.init_from``."""
        self.backbone = self._backbone()

    def initialize_probes(self) -> None:
        """Make none: nothing would train them."""
        self.probes = OnlineProbes({}, self.num_classes, self.config.optim.probe_lr, self.distributed.device)

    def _backbone(self) -> nn.Module:
        model = self.config.model
        return build_backbone(model.backbone, self.image_shape, **model.backbone_options)

    def forward(self, x: Tensor) -> Tensor:
        """Return no prediction, ``(N, 0)``: there is no classifier."""
        return x.new_zeros((len(x), 0))
