"""Jigsaw (Noroozi & Favaro 2016, https://arxiv.org/abs/1603.09246).

Nine patches of an image are put in an order that is drawn from a fixed set of permutations. The backbone sees each patch by
itself, and a classifier on the nine features predicts the permutation. To solve the puzzle, the backbone has to recognise
parts.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core.config import ModelConfig, option
from ssl_core.methods.backbone_method import BackboneMethod
from ssl_core.modules.pretext.jigsaw import (
    NUM_PATCHES,
    distant_permutations,
    jigsaw_patches,
    random_choices,
    shuffled,
    standardised,
)
from ssl_losses.distributed import mean_over_ranks
from ssl_losses.precision import widen


@dataclass
class JigsawConfig(ModelConfig):
    """Keys of Jigsaw."""

    num_permutations: int = option(1000, low=2, high=362880)  # P, permutations with a large mean Hamming distance
    patch_width: int = option(1000, low=1)  # units for each patch before the nine are concatenated
    patch_size: int | None = option(None, low=1)  # pixels of a resized patch; null: 64/75 of a third of the view


class Jigsaw(BackboneMethod):
    """The order of nine patches is classified."""

    config_class = JigsawConfig
    puzzle_share = 64 / 75  # a patch of 64 pixels in a cell of 75
    permutations: Tensor

    def initialize_modules(self) -> None:
        """Create the backbone, the layer of each patch and the classifier of permutations."""
        super().initialize_modules()
        model = self.config.model
        width = model.patch_width
        self.patch_layer = nn.Sequential(nn.Linear(self.backbone.num_features, width), nn.BatchNorm1d(width), nn.ReLU())
        self.classifier = nn.Linear(NUM_PATCHES * width, model.num_permutations)
        self.register_buffer("permutations", distant_permutations(model.num_permutations))

    def compute_loss(self) -> Tensor:
        """Return the cross-entropy of the permutations of the first view's patches."""
        model, ids, images = self.config.model, self.data.ids, self.data.views[0]
        seed, epoch = self.config.hardware.seed, self.progress.epoch
        patches = standardised(jigsaw_patches(images, ids, seed, epoch, self.puzzle_share, model.patch_size))
        labels = random_choices(ids, model.num_permutations, seed, epoch)
        patches = shuffled(patches, self.permutations[labels])
        # All first patches, then all second ones: so the probes find the labels of the images
        features = self.patch_layer(self.backbone(patches.transpose(0, 1).flatten(0, 1)))
        logits = self.classifier(features.unflatten(0, (NUM_PATCHES, -1)).transpose(0, 1).flatten(1))
        return mean_over_ranks(F.cross_entropy(widen(logits), labels))
