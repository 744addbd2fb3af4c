"""Base class of the methods that train a backbone."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from ssl_core.backbones import build_backbone
from ssl_core.base_model import BaseModel
from ssl_core.config import Config
from ssl_core.errors import ConfigError
from ssl_core.methods.requirements import check_labels, check_modules, check_num_views, check_queue, check_views


class BackboneMethod(BaseModel):
    """A method that trains ``self.backbone``. Its prediction is that of the online probe on the backbone.

    The class attributes say what the method requires; :meth:`check_config` raises an error for a configuration that does not
    fit, before any data is opened.
    """

    num_views: ClassVar[int | None] = None  # views of an image that the loss takes; None: min_views or more
    min_views: ClassVar[int] = 1
    # Whether views may have several sizes; None: if any number of them is taken
    multi_crop: ClassVar[bool | None] = None
    needs_tokens: ClassVar[bool] = False  # of the patches, so that the backbone has to be a ViT
    needs_labels: ClassVar[bool] = False
    # Term of the loss that is log K where all K prototypes are equally likely, and the key of K
    assignment_loss: ClassVar[tuple[str, str] | None] = None
    puzzle_share: ClassVar[float | None] = None  # of a third of a view that is cut out as a patch of a puzzle

    @classmethod
    def check_config(cls, config: Config) -> None:
        """Raise a ConfigError for views, labels, a backbone or sizes that the method cannot be trained with."""
        if config.optim.epochs == 0:
            return
        multi_crop = cls.num_views is None if cls.multi_crop is None else cls.multi_crop
        check_views(config, cls.num_views, cls.min_views, multi_crop, joins_globals=cls.needs_tokens)
        check_queue(config)
        if cls.needs_labels and hasattr(config.data, "has_labels") and config.data.has_labels() is False:
            check_labels(config.model.name, 0)
        if cls.initialize_modules.__module__.startswith("ssl_core."):  # those of a user may do anything
            check_modules(cls, config)

    def before_run(self) -> None:
        """Raise a ConfigError if the data has no classes and the method needs them; name the loss that shows a collapse."""
        if self.needs_labels:
            labels = getattr(self.run.loaders.train, "labels", None)
            unlabeled = labels is not None and len(labels) and (torch.as_tensor(labels) < 0).all()
            check_labels(self.config.model.name, 0 if unlabeled else self.num_classes)
        if self.assignment_loss:
            term, key = self.assignment_loss
            self.run.collapse.uniform_loss = f"train/{term}", math.log(getattr(self.config.model, key))

    backbone: Any

    def initialize_modules(self) -> None:
        """Create the backbone, which has patch tokens if the method needs them."""
        model = self.config.model
        self.backbone = build_backbone(model.backbone, self.image_shape, **model.backbone_options)
        if self.needs_tokens and not hasattr(self.backbone, "tokens"):
            raise ConfigError(
                f"model.name={model.name!r} needs the tokens of the patches",
                key="model.backbone",
                value=model.backbone,
                expected="a ViT, e.g. 'vit_tiny', 'vit_small' or 'timm/vit_small_patch16_224'",
            )

    def views(self) -> list[Tensor]:
        """Return the views of the batch; raise a ConfigError if the loss compares another number of views."""
        check_num_views(self.config, len(self.data.views), self.num_views, self.min_views)
        return self.data.views

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits ``(N, K)`` of the online probe; the features ``(N, D)`` if there are no labels."""
        features = self.backbone(x)
        return self.probes.scores("backbone", features) if "backbone" in self.probes else features
