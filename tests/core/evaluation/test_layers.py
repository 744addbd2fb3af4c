"""Representations of layers, against forward hooks; and which images are taken."""

import shutil

import pytest
import torch
from torch import nn

from ssl_core import RunFolder
from ssl_core.backbones import build_backbone
from ssl_core.errors import ConfigError
from ssl_core.evaluation.layers import extract_representations

SHAPE = (3, 8, 8)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return tmp_path_factory.mktemp("finished")


@pytest.fixture
def make_run(finished, tmp_path, tiny_model, toy_data, make_config):
    """Return a function of a backbone's name: a run of three epochs, made once, and how to open it."""

    def make(name):
        class Model(tiny_model):
            def initialize_modules(self):
                self.backbone = (
                    build_backbone(name, SHAPE, **({"depth": 3} if name.startswith("vit") else {"width": 4}))
                    if name != "plain"
                    else nn.Sequential(nn.Flatten(), nn.Linear(192, 16))
                )
                self.head = nn.Linear(getattr(self.backbone, "num_features", 16), self.num_classes)

        if not (finished / name).exists():
            Model(make_config(log__folder=str(finished), log__run=name, log__checkpoint_every=1)).fit()
        run = RunFolder(shutil.copytree(finished / name, tmp_path / name, dirs_exist_ok=True))
        return run, sorted(run.checkpoints.glob("*.pt")), {"method": Model, "data": toy_data}

    return make


def images_of(toy_data):
    return toy_data().open(16, 0).evaluation["toy"].images


def test_blocks_of_a_vision_transformer(make_run, toy_data):
    """Of each block the class token after the last norm, by forward hooks."""
    run, checkpoints, options = make_run("vit_tiny")
    found, images = extract_representations(run, checkpoints, layers=2, **options)
    assert [(each.step, each.layer) for each in found] == [
        (step, f"block {block}") for step in (8, 12) for block in (1, 2)
    ]
    assert (images.dataset, images.count) == ("toy", 32)
    model = options["method"].from_run(run.path, data=toy_data)
    tokens = {}
    for number, block in enumerate(model.backbone.blocks):
        block.register_forward_hook(lambda *call, number=number: tokens.update({number: call[2]}))
    with torch.no_grad():
        output = model.backbone(images_of(toy_data))
        for number, each in zip((1, 2), found[2:]):
            torch.testing.assert_close(each.features, model.backbone.norm(tokens[number])[:, 0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[-1].features, output, rtol=1e-4, atol=1e-5)


def test_stages_of_a_convolutional_network(make_run, toy_data):
    run, checkpoints, options = make_run("resnet9")
    found, _ = extract_representations(run, checkpoints[-1:], layers=3, **options)
    assert [each.layer for each in found] == ["levels.2", "levels.3", "levels.4"]
    backbone = options["method"].from_run(run.path, data=toy_data).backbone
    with torch.no_grad():
        x = backbone.stem(images_of(toy_data))
        for number, level in enumerate(backbone.levels):
            x = level(x)
            if number >= 2:
                torch.testing.assert_close(found[number - 2].features, x.mean((2, 3)), rtol=1e-4, atol=1e-5)


def test_output_of_evenly_spread_images(make_run, toy_data):
    run, checkpoints, options = make_run("plain")
    whole, everything = extract_representations(run, checkpoints[-1:], **options)
    part, images = extract_representations(run, checkpoints[-1:], samples=4, **options)
    assert torch.equal(part[0].features, whole[0].features[[0, 10, 21, 31]])
    assert images.count == 4
    assert images != everything
    assert extract_representations(run, checkpoints[:1], **options)[1] == everything


def test_images_of_another_data_set(make_run, toy_data):
    run, checkpoints, options = make_run("plain")

    def open_other(loaders, *_):
        loader = loaders.evaluation["toy"]
        loader.images, loader.labels = loader.images[:5] + 1, loader.labels[:5]
        return loader

    found, images = extract_representations(run, checkpoints, images=("brighter", open_other), **options)
    backbone = options["method"].from_run(run.path, data=toy_data).backbone
    with torch.no_grad():
        expected = backbone(images_of(toy_data)[:5] + 1)
    torch.testing.assert_close(found[-1].features, expected, rtol=1e-4, atol=1e-5)
    assert (images.dataset, images.count) == ("brighter", 5)


@pytest.mark.parametrize(("name", "most"), [("vit_tiny", 3), ("plain", 0)])
def test_missing_layers_raise(make_run, name, most):
    run, checkpoints, options = make_run(name)
    with pytest.raises(ConfigError, match=f"layers=4: .*expected at most {most}"):
        extract_representations(run, checkpoints, layers=4, **options)
