"""PIRL (Misra & van der Maaten 2020, https://arxiv.org/abs/1912.01991).

The embedding of an image and that of its nine shuffled patches both match the embedding that a memory bank keeps of this image,
and none of other images. The representation thereby becomes invariant to the pretext task, where Jigsaw predicts its answer.
The memory gives many negatives without a large batch.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core.config import option
from ssl_core.methods.joint_embedding import JointEmbedding, JointEmbeddingConfig
from ssl_core.modules.memory_bank import MemoryBank
from ssl_core.modules.pretext.jigsaw import NUM_PATCHES, jigsaw_patches, random_orders, shuffled
from ssl_core.modules.random_numbers import Stream, uniform
from ssl_core.training.feature_pass import feature_pass
from ssl_losses.checks import LOWEST_TEMPERATURE, check_temperature
from ssl_losses.distributed import mean_over_ranks
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.precision import widen, widened, without_autocast


@dataclass
class PIRLConfig(JointEmbeddingConfig):
    """Keys of PIRL."""

    projector: list[int] = option([128], low=1)  # widths of f's layers: linear in the paper; the last is D
    temperature: float = option(0.07, low=LOWEST_TEMPERATURE)  # tau, temperature of the similarities
    num_negatives: int = option(32000, low=1)  # N, negatives from the memory bank
    memory_momentum: float = option(0.5, low=0.0, below=1.0)  # momentum of the memory bank
    patch_weight: float = option(0.5, low=0.0, high=1.0)  # lambda, weight of the patches; 1 - lambda: image
    patch_size: int | None = option(None, low=1)  # pixels of a resized patch; null: 64/85 of a third of the view


class PIRL(JointEmbedding):
    """Image and shuffled patches match what a memory bank keeps of the image."""

    config_class = PIRLConfig
    puzzle_share = 64 / 85  # a patch of 64 pixels in a cell of 85
    num_views = 2  # the image, and a view that is cut into patches

    def initialize_modules(self) -> None:
        """Create the backbone, the heads of images (f: projector) and patches (g), and the memory bank."""
        super().initialize_modules()
        model, width = self.config.model, self.config.model.projector[-1]
        self.patch_projector = nn.Linear(self.backbone.num_features, width)
        self.puzzle_projector = nn.Linear(NUM_PATCHES * width, width)
        self.memory = MemoryBank(model.memory_momentum)

    def train_epoch(self) -> None:
        """Fill the memory, which the paper initialises at random, before the first epoch; train on one pass over the data."""
        if not len(self.memory):
            ids, rows = feature_pass(self, lambda view: unit_rows(self.embed(view)))
            self.memory.fill(ids, rows[:, 0])
        super().train_epoch()

    def compute_loss(self) -> Tensor:
        """Return the loss of the paper's equation 5; update the memory with the embeddings of the images."""
        model, ids, (image, puzzle) = self.config.model, self.data.ids, self.views()
        z, g = self.embed(image), self.embed_puzzle(puzzle)
        # The same negatives for all samples of a step, where the authors draw for each; not the image itself
        one, step = torch.zeros_like(ids[:1]), self.progress.step
        drawn = uniform(one, model.num_negatives, self.config.hardware.seed, step, Stream.NEGATIVES)[0]
        drawn = (drawn * len(self.memory.ids)).long()
        own = drawn == self.memory.positions(ids)[:, None]
        keys = self.memory.lookup(ids), self.memory.rows[drawn], own, model.temperature
        self.memory.update(ids, unit_rows(widen(z.detach())))
        return model.patch_weight * nce(g, *keys) + (1 - model.patch_weight) * nce(z, *keys)

    def embed_puzzle(self, view: Tensor) -> Tensor:
        """Return g: the embeddings ``(N, D)`` of nine patches in random order."""
        ids, seed, epoch = self.data.ids, self.config.hardware.seed, self.progress.epoch
        patches = jigsaw_patches(view, ids, seed, epoch, self.puzzle_share, self.config.model.patch_size)
        patches = shuffled(patches, random_orders(ids, seed, epoch)).transpose(0, 1).flatten(0, 1)
        features = self.patch_projector(self.backbone(patches))
        return self.puzzle_projector(features.unflatten(0, (NUM_PATCHES, -1)).transpose(0, 1).flatten(1))


@without_autocast
def nce(queries: Tensor, positives: Tensor, negatives: Tensor, excluded: Tensor, temperature: float) -> Tensor:
    """Return ``-log h(positive) - sum log(1 - h(negative))``, with h the softmax of the similarities (equations 3 and 4).

    Deviation from the authors' code (nce_loss.py of VISSL): it has a constant in place of the sum in the softmax, and the terms
    of noise-contrastive estimation, as Wu et al. 2018.

    ``queries`` and ``positives`` are ``(N, D)``, ``negatives`` ``(K, D)``, ``excluded`` ``(N, K) bool``.
    """
    check_temperature(temperature)
    q, p, n = (unit_rows(x) for x in widened((queries, positives, negatives)))
    logits = torch.cat([(q * p).sum(1, keepdim=True), (q @ n.T).masked_fill(excluded, -torch.inf)], dim=1)
    log_h = F.log_softmax(logits / temperature, dim=1)
    others = torch.log1p(-log_h[:, 1:].exp().clamp(max=1 - 1e-6)).sum(1)
    return mean_over_ranks(-(log_h[:, 0] + others).mean())
