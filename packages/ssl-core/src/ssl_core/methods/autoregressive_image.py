"""Base class of the methods that predict the next patch from the patches before it, row by row."""

from dataclasses import dataclass
from typing import Any

from ssl_core.config import option
from ssl_core.errors import ConfigError
from ssl_core.methods.masked_image import MaskedImageModel, PatchConfig


@dataclass
class AutoregressiveConfig(PatchConfig):
    """Keys of the methods that predict the next patch."""

    # The feature is the mean of the patches: a class token before all patches would see none of them
    backbone_options: dict[str, Any] = option({"pool": "mean"})  # timm: {class_token: false, global_pool: avg}

    def check(self) -> None:
        """Raise a ConfigError for a backbone with a class token."""
        super().check()
        options = self.backbone_options
        if options.get("pool") != "mean" and options.get("class_token") is not False:
            raise ConfigError(
                f"model.name={self.name!r} predicts patches from earlier patches, and has no use for a class token",
                key="model.backbone_options",
                value=options,
                expected="pool: mean (timm: class_token: false and global_pool: avg)",
            )


class AutoregressiveModel(MaskedImageModel):
    """A method whose patches attend to earlier ones in training. Its features are computed with attention to all patches."""

    config_class = AutoregressiveConfig

    def initialize_modules(self) -> None:
        """Create the backbone."""
        super().initialize_modules()
        count = self.backbone.num_prefix_tokens
        if count:
            raise ConfigError(
                f"model.backbone={self.config.model.backbone!r} has {count} tokens before the patches",
                key="model.backbone_options",
                value=self.config.model.backbone_options,
                expected="no class token and no registers",
            )
