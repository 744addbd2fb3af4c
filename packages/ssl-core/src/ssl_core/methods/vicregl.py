"""VICRegL (Bardes, Ponce & LeCun 2022, https://arxiv.org/abs/2210.01571).

VICReg of whole images, and of the cells of their feature maps. Each cell of one view is paired with the cell of the other view
that is the nearest in the original image, and with the one that is the nearest in feature; the closest pairs are kept. The
features then describe the whole image and also its parts, as segmentation needs.
"""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.batch import CroppedBatch
from ssl_core.config import option
from ssl_core.errors import ConfigError
from ssl_core.methods.dense_method import cell_locations, check_feature_map
from ssl_core.methods.joint_embedding import JointEmbedding
from ssl_core.methods.requirements import check_layers
from ssl_core.methods.vicreg import VICRegConfig
from ssl_core.modules.heads import mlp
from ssl_losses import vicregl


@dataclass
class VICRegLConfig(VICRegConfig):
    """Keys of VICRegL."""

    map_projector: list[int] = option([512, 512, 512], low=1)  # widths of the projector of the cells
    alpha: float = option(0.75, low=0.0, high=1.0)  # share of the whole images' loss; 0.9 for a ResNet-50
    num_matches: list[int] = option([20, 4], low=1)  # gamma, pairs of cells of a global and of a local view
    global_views: int = option(2, low=1)  # the first views are global: they are compared with all others

    def check(self) -> None:
        """Raise a ConfigError for a projector of the cells without layers, or other than two numbers of pairs."""
        super().check()
        check_layers("model.map_projector", self.map_projector, [512, 512, 512])
        if len(self.num_matches) != 2:
            raise ConfigError(key="model.num_matches", value=self.num_matches, expected="two numbers, e.g. [20, 4]")


class VICRegL(JointEmbedding):
    """VICReg of whole images and of matched cells of their feature maps.

    Each view passes the backbone alone, as in the authors' code, so that batch normalisation sees views of one kind.
    """

    config_class = VICRegLConfig
    needs_crops = True
    data: CroppedBatch

    def initialize_modules(self) -> None:
        """Create the backbone, the projector and the projector of the cells."""
        super().initialize_modules()
        check_feature_map(self)
        self.map_projector = mlp([self.backbone.num_features, *self.config.model.map_projector])

    def compute_loss(self) -> Tensor:
        """Return the VICRegL loss."""
        model, views = self.config.model, self.views()
        embeddings, maps = zip(*map(self.embed_dense, views))
        places = [cell_locations(crops, cells.shape[1:3]) for crops, cells in zip(self.data.crops, maps)]
        return vicregl(
            embeddings, maps, places, model.alpha, tuple(model.num_matches), model.invariance, model.variance,
            model.covariance, model.global_views,
        )  # fmt: skip

    def embed_dense(self, view: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embeddings ``(N, D)`` of a view and those of its cells ``(N, h, w, E)``."""
        features, feature_map = self.backbone.forward_dense(view)
        self.probes.observe("backbone", features)
        cells = feature_map.permute(0, 2, 3, 1)
        return self.projector(features), self.map_projector(cells.flatten(0, 2)).unflatten(0, cells.shape[:3])
