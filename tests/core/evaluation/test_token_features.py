"""Tokens of the last blocks, against timm, and the probes on them in an evaluation."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from ssl_core import BaseModel, RunFolder
from ssl_core.backbones.vit import VisionTransformer
from ssl_core.evaluation.evaluate_checkpoint import evaluate_checkpoint
from ssl_core.evaluation.feature_cache import extract_features
from ssl_core.evaluation.features import tokens_of_last_blocks
from ssl_eval import Protocol, evaluate_features
from ssl_eval.probes import attentive
from ssl_eval.probes.attentive import attentive_probe

TOKENS = Protocol(
    name="tokens", knn=[], linear=False, few=[], label_free=False, map_samples=0, attentive_probe=True,
    multilayer_linear_probe=True,
)  # fmt: skip


@pytest.mark.parametrize("registers", [0, 2])
def test_tokens_equal_timms_intermediate_layers(registers):
    """Oracle: timm's ``get_intermediate_layers`` with its last norm."""
    timm = pytest.importorskip("timm")
    from ssl_core.backbones.timm_vit import add_vit_methods

    model = timm.models.VisionTransformer(
        img_size=16, patch_size=4, embed_dim=24, depth=3, num_heads=2, num_classes=0, reg_tokens=registers
    ).eval()
    add_vit_methods(model)
    x = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        last, blocks = tokens_of_last_blocks(model, x, 2)
        expected = model.get_intermediate_layers(x, n=2, norm=True, return_prefix_tokens=True)
    patches, prefix = expected[-1]
    torch.testing.assert_close(last, torch.cat([prefix[:, :1], patches], 1))
    for number, (patches, prefix) in enumerate(expected):
        torch.testing.assert_close(blocks[:, number, 0], prefix[:, 0])
        torch.testing.assert_close(blocks[:, number, 1], patches.mean(1))


def test_tokens_of_vit_without_class_token():
    model = VisionTransformer((3, 8, 8), 4, width=16, depth=2, num_heads=2, pool="mean")
    x = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    last, blocks = tokens_of_last_blocks(model, x, 2)
    torch.testing.assert_close(last, model.tokens(x))
    assert torch.equal(blocks[:, :, 0], blocks[:, :, 1])
    torch.testing.assert_close(blocks[:, 1, 0], model(x))


class TinyViT(BaseModel):
    def initialize_modules(self):
        self.backbone = VisionTransformer(self.image_shape, patch_size=4, width=16, depth=2, num_heads=2)
        self.head = nn.Linear(16, self.num_classes)

    def forward(self, x):
        return self.head(self.backbone(x))

    def compute_loss(self):
        return nn.functional.cross_entropy(self.forward(self.data[0][0]), self.data[1])


@pytest.fixture
def run(tmp_path, make_config):
    TinyViT(make_config(optim__epochs=2)).fit()
    return RunFolder(tmp_path / "run")


def test_token_probes_use_the_tokens_of_the_checkpoint(run, toy_data, monkeypatch):
    monkeypatch.setattr(attentive, "MIN_STEPS", 20)
    (path,) = evaluate_checkpoint(run, TOKENS, method=TinyViT, data=toy_data)
    metrics = json.loads(path.read_text())["metrics"]
    assert set(metrics) == {"attentive_probe", "multilayer_linear_probe"}
    found = extract_features(run, method=TinyViT, data=toy_data, tokens=True)
    features = found.features["toy"]
    assert found.cached
    tokens = features.tokens
    assert tokens.train.shape == (64, 5, 16)
    assert tokens.test_blocks.shape == (32, 2, 2, 16)
    torch.testing.assert_close(tokens.test[:, 0].float(), features.test, atol=2e-3, rtol=2e-3)  # the class token
    expected = attentive_probe(tokens.train, features.train_labels, tokens.test, features.test_labels)
    assert metrics["attentive_probe"] == expected.accuracy
    assert not extract_features(run, method=TinyViT, data=toy_data).cached  # a file without tokens


def test_tokens_are_those_of_the_labelled_images(run, toy_data):
    class Half(toy_data):
        def open(self, *arguments, **options):
            loaders = super().open(*arguments, **options)
            loaders.reference.labels = loaders.reference.labels.clone()
            loaders.reference.labels[1::2] = -1
            return loaders

    whole = extract_features(run, method=TinyViT, data=toy_data, tokens=True).features["toy"]
    for file in run.evaluations.glob("features_*"):
        file.unlink()  # the labels are not part of the key
    half = extract_features(run, method=TinyViT, data=Half, tokens=True).features["toy"]
    assert torch.equal(half.tokens.train, whole.tokens.train[::2])
    assert torch.equal(half.train_labels, whole.train_labels[::2])
    labels = whole.train_labels.clone()
    labels[1::2] = -1
    assert torch.equal(replace(whole, train_labels=labels).labelled().tokens.train, half.tokens.train)


def test_backbone_without_tokens_is_named(tmp_path, make_config, tiny_model, toy_data):
    tiny_model(make_config()).fit()
    features = extract_features(RunFolder(tmp_path / "run"), method=tiny_model, data=toy_data, tokens=True)
    omitted = evaluate_features(features.features["toy"], TOKENS).omitted
    assert omitted["attentive_probe"].startswith("the backbone has no tokens")
    assert omitted.keys() == {"attentive_probe", "multilayer_linear_probe"}
