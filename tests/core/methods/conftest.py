"""Small models of every method."""

import dataclasses

import pytest
import torch

from ssl_core.methods import method_class

SMALL = {  # keys of small models, for the methods that have them
    "projector": [12, 8],
    "predictor": [12],
    "queue_size": 24,
    "num_slices": 16,
    "whitening_size": 16,
    "dim": 4,
    "momentum": 0.9,
    "final_momentum": 1.0,
    "decoder_width": 8,
    "decoder_depth": 1,
    "decoder_heads": 2,
    "predictor_width": 8,
    "predictor_depth": 1,
    "predictor_heads": 2,
    "top_blocks": 1,
    "num_prototypes": 6,
    "queue_start_epoch": 1,
    "num_groups": 6,
    "reset_every": 3,
    "teacher_temperature_warmup_epochs": 1.0,
    "gram_start": 0.25,
    "gram_interval": 0.25,
    "num_clusters": 16,
    "num_heads": 2,
    "num_layers": 1,
    "dropout": 0.0,
    "freeze_last_layer": 0,
    "freeze_prototypes_epochs": 0,
    "patch_size": 8,
    "num_permutations": 5,
    "patch_width": 6,
    "num_negatives": 20,
    "cells": 1,
    "head_width": 8,
    "head_depth": 1,
    "feature_decoder_depth": 1,
    "map_projector": [12, 8],
    "num_matches": [1, 1],
}
VIT = {"patch_size": 2, "width": 12, "depth": 2, "num_heads": 3}


def small_method(name, config):
    """Return a method with a small model, which sees as many views as it takes."""
    kind = method_class(name)
    keys = {each.name for each in dataclasses.fields(kind.config_class)}
    vit = {**kind.config_class().backbone_options, **VIT}
    backbone, options = ("vit_tiny", vit) if kind.needs_tokens else ("resnet9", {"width": 2})
    model = {key: value for key, value in SMALL.items() if key in keys}
    config.data.views = kind.num_views or max(2, kind.min_views)
    config.model = kind.config_class(name=name, backbone=backbone, backbone_options=options, **model)
    return kind(config)


@pytest.fixture
def make_method(make_config):
    """Return a function that makes a method with a small model."""

    def make(name, **changes):
        defaults = {"log__checkpoint_every_steps": 3, "optim__epochs": 2, "optim__lr": 0.01}
        return small_method(name, make_config(**defaults | changes))

    return make


@pytest.fixture
def losses_of_third_step():
    """Return a function that trains a model: the loss of its third step as in the paper, and as logged."""

    def losses(model, paper, prepare=lambda: None):
        expected, found = [], []

        @torch.no_grad()
        def before():
            prepare()
            if model.progress.step == 2:
                expected.append(float(paper(model)))

        def after():
            if model.progress.step == 3:
                found.append(model.run.metrics.last["train/loss"])

        model.before_train_step, model.after_train_step = before, after
        model.fit()
        assert len(expected) == len(found) == 1
        return expected[0], found[0]

    return losses
