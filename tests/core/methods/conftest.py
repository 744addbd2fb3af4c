"""Small models of every method."""

import dataclasses

import pytest

from ssl_core.methods import method_class
from ssl_core.methods.masked_image import MaskedImageModel

SMALL = {  # keys of small models, for the methods that have them
    "projector": [12, 8], "predictor": [12], "queue_size": 24, "num_slices": 16, "whitening_size": 16, "dim": 4,
    "momentum": 0.9, "final_momentum": 1.0, "decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2, "predictor_width": 8,
    "predictor_depth": 1, "predictor_heads": 2, "top_blocks": 1, "num_prototypes": 6, "queue_start_epoch": 1,
    "num_groups": 6, "reset_every": 3,
}  # fmt: skip
VIT = {"patch_size": 2, "width": 12, "depth": 2, "num_heads": 3}


@pytest.fixture
def make_method(make_config):
    """Return a function that makes a method with a small model."""

    def make(name, **changes):
        kind = method_class(name)
        keys = {each.name for each in dataclasses.fields(kind.config_class)}
        masked = issubclass(kind, MaskedImageModel)
        backbone, options = ("vit_tiny", VIT) if masked else ("resnet9", {"width": 2})
        model = {key: value for key, value in SMALL.items() if key in keys}
        config = make_config(**{"log__checkpoint_every_steps": 3, "optim__epochs": 2, "optim__lr": 0.01} | changes)
        config.model = kind.config_class(name=name, backbone=backbone, backbone_options=options, **model)
        return kind(config)

    return make
