"""NNBYOL (Dwibedi, Aytar, Tompson, Sermanet & Zisserman 2021, https://arxiv.org/abs/2104.14548; name and code: solo-learn).

BYOL whose target is not the teacher's embedding of the other view, but its nearest neighbour among the teacher's embeddings of
earlier batches. The neighbour is another image, so that more than augmentations count as the same. There are no negatives.
"""

from dataclasses import dataclass

from torch import Tensor

from ssl_core.config import option
from ssl_core.methods.byol import BYOL, BYOLConfig
from ssl_losses import negative_cosine_similarity
from ssl_losses.components.queue import Queue
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.precision import widen
from ssl_losses.similarity.nearest import neighbours


@dataclass
class NNBYOLConfig(BYOLConfig):
    """Keys of NNBYOL."""

    queue_size: int = option(65536, low=1)  # earlier embeddings of the teacher, among them the neighbours


class NNBYOL(BYOL):
    """The prediction of one view matches the nearest neighbour of the teacher's embedding of the other."""

    config_class = NNBYOLConfig

    def initialize_modules(self) -> None:
        """Create the backbone, the projector, their teacher, the predictor and the queue."""
        super().initialize_modules()
        self.queue = Queue(self.config.model.queue_size)

    def compute_loss(self) -> Tensor:
        """Return the squared distance of predictions and neighbours, 2 - 2 cos, summed over both directions."""
        views = self.views()
        predictions = [self.predictor(self.embed(view)) for view in views]
        targets = [unit_rows(widen(self.target(view))) for view in views]
        earlier = self.queue.contents(targets[0])
        # The queue starts empty, and the first step is one of BYOL; the published code starts with random rows
        found = [neighbours(z, earlier) for z in targets] if len(earlier) else targets
        if self.training:
            self.queue.update(targets[0])
        return 4 + 4 * negative_cosine_similarity(predictions, found)
