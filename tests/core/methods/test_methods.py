"""The methods by name, their keys, and what they accept."""

import dataclasses
import inspect
import math

import pytest
import torch

import ssl_losses
from ssl_core import Config, ConfigError, OptimConfig
from ssl_core.methods import METHODS, method_class
from ssl_core.methods.joint_embedding import ComparingConfig
from ssl_core.methods.pirl import nce
from ssl_core.methods.supervised import Supervised, SupervisedConfig
from ssl_core.methods.w_mse import WMSE, WMSEConfig
from ssl_core.modules.momentum_groups import MomentumGroups
from ssl_core.run.folder import RunFolder
from ssl_losses.components.queue import Queue


def config_class(name):
    return method_class(name).config_class


def test_class_and_config_are_importable_by_name():
    from ssl_core.methods import SimCLR

    assert SimCLR is method_class("simclr")
    assert config_class("simclr").__module__ == SimCLR.__module__
    with pytest.raises(ImportError):
        from ssl_core.methods import Simclr  # noqa: F401


@pytest.mark.parametrize(
    ("name", "nearest"), [("simclrr", "simclr"), ("Byoll", "byol"), ("barlow", "barlow_twins"), ("x", None)]
)
def test_unknown_method_suggests_the_nearest(name, nearest):
    with pytest.raises(ConfigError) as caught:
        method_class(name)
    assert (caught.value.key, caught.value.value, caught.value.suggestion) == ("model.name", name, nearest)
    assert "stable-ssl list methods" in str(caught.value)
    assert len(str(caught.value)) < 120  # the names themselves are many


COMPARING = [name for name in METHODS if issubclass(config_class(name), ComparingConfig)]
VIEWS = torch.arange(16.0)[:, None].sin(), torch.arange(16.0)[:, None].cos()
# Losses that are not a function of the embeddings alone: the keys as options of the loss
CELLS = [torch.randn(16, 2, 2, 1), torch.randn(16, 2, 2, 1)], [torch.zeros(16, 2, 2, 2)] * 2  # maps and locations
LOSSES = {
    "all4one": ssl_losses.NNCLRLoss,
    "cmae": lambda temperature: ssl_losses.moco_v3(*VIEWS, *VIEWS, temperature=temperature),
    "deepcluster_v2": lambda **options: ssl_losses.DeepClusterV2Loss(num_samples=8, **options),
    "densecl": ssl_losses.InfoNCELoss,
    "lejepa": lambda **options: ssl_losses.SIGRegLoss(**options)(*VIEWS),
    "dino": ssl_losses.DINOLoss,
    "dinov2": ssl_losses.DINOLoss,
    "dinov3": ssl_losses.DINOLoss,
    "ibot": ssl_losses.IBOTLoss,
    "moco_v2": ssl_losses.InfoNCELoss,
    "moco_v3": lambda temperature: ssl_losses.moco_v3(*VIEWS, *VIEWS, temperature=temperature),
    "msn": ssl_losses.MSNLoss,
    "nnbyol": lambda queue_size: Queue(queue_size),
    "nnclr": ssl_losses.NNCLRLoss,
    "pmsn": ssl_losses.PMSNLoss,
    "pirl": lambda temperature: nce(*VIEWS, VIEWS[0], torch.eye(16).bool(), temperature),
    "ressl": ssl_losses.ReSSLLoss,
    "smog": lambda queue_size=8, num_groups=2, **options: (
        Queue(queue_size),
        MomentumGroups(num_groups, dimensions=1, **options),
    ),
    "supcon": lambda temperature: ssl_losses.supcon(VIEWS, torch.arange(16), temperature=temperature),
    "swav": ssl_losses.SwAVLoss,
    "tico": lambda contrast=1.0, covariance_momentum=0.5: ssl_losses.TiCoLoss(4, covariance_momentum, contrast),
    "vicregl": lambda **options: ssl_losses.vicregl(VIEWS, *CELLS, **options),
    "visreg": lambda **options: ssl_losses.VISRegLoss(**options)(*VIEWS),
}
# Keys of heads, teachers, masks and schedules; a_0 is a cosine, though the loss takes any number
NO_OPTIONS = (
    "projector",
    "predictor",
    "momentum",
    "final_momentum",
    "a_0",
    "queue_start_epoch",
    "freeze_prototypes_epochs",
    "kmeans_iterations",
    "centroid_temperature",
    "neighbour_weight",
    "centroid_weight",
    "feature_weight",
    "num_neighbours",
    "num_heads",
    "num_layers",
    "num_negatives",
    "memory_momentum",
    "patch_weight",
    "patch_size",
    "dropout",
    "reset_every",
    "map_projector",
    "decoder_width",
    "decoder_depth",
    "decoder_heads",
    "feature_decoder_depth",
    "shift_patches",
    "mask_ratio",
)
WEIGHTS = {
    ("densecl", "dense_weight"),
    ("cmae", "contrast"),
    ("vicregl", "num_matches"),
}  # multiplied by the method; a list
RANGES = [
    (name, field)
    for name in COMPARING
    for field in dataclasses.fields(config_class(name))
    if "low" in field.metadata
    and field.name not in NO_OPTIONS
    and (name, field.name) not in WEIGHTS
    # Keys of views, masks and schedules
    and (not isinstance(LOSSES.get(name), type) or field.name in inspect.signature(LOSSES[name]).parameters)
]


@pytest.mark.parametrize(("name", "field"), RANGES, ids=[f"{name}.{field.name}" for name, field in RANGES])
def test_range_of_a_key_equals_that_of_its_loss(name, field):
    """The lowest value of the key is accepted by the loss, the next lower one is not, and neither is infinity."""

    def loss(value):
        if name in LOSSES:
            return LOSSES[name](**{field.name: value})
        keys = {"dim": 1} if name == "directclr" else {}
        model = config_class(name)(name=name, **keys | {field.name: value})
        return method_class(name)(Config(data=None, model=model)).embedding_loss(*VIEWS)

    low, is_count = field.metadata["low"], "int" in str(field.type)
    value = loss(low)
    assert not isinstance(value, torch.Tensor) or value.isfinite()
    below = low - 1 if is_count else math.nextafter(low, -math.inf)
    for value in (below, *([] if is_count else [math.inf])):
        with pytest.raises(ValueError, match=field.name.removeprefix("covariance_")):
            loss(value)


@pytest.mark.parametrize("name", COMPARING)
def test_batch_of_one_raises_before_data(make_config, name):
    config = make_config(optim__batch_size=1)
    config.model = config_class(name)(name=name)
    with pytest.raises(ConfigError) as caught:
        method_class(name)(config).fit()
    assert (caught.value.key, caught.value.value, caught.value.expected) == ("optim.batch_size", 1, "at least 2")
    assert config.data.opened == 0
    config_class(name)(name=name).check_batch(OptimConfig(batch_size=1, epochs=0))  # nothing is trained


@pytest.mark.parametrize(
    ("keys", "changes", "key"),
    [
        ({}, {"optim__batch_size": 64}, "optim.batch_size"),
        ({}, {"optim__batch_size": 32, "optim__accumulation_steps": 3}, "optim.batch_size"),
        ({"whitening_size": 64}, {}, "model.whitening_size"),
        ({"projector": [200]}, {}, "model.whitening_size"),
    ],
)
def test_whitening_of_too_few_samples_raises_before_data(make_config, keys, changes, key):
    config = make_config(**changes)
    config.model = WMSEConfig(name="w_mse", **keys)
    with pytest.raises(ConfigError) as caught:
        WMSE(config).fit()
    assert caught.value.key == key
    assert config.data.opened == 0


class SomeLabels:
    """Labels of every fourth image only, or none at all."""

    def __init__(self, toy_data, num_classes):
        self.toy_data, self.num_classes = toy_data(), num_classes

    def open(self, *arguments):
        loaders = self.toy_data.open(*arguments)
        labels = loaders.train.labels
        loaders.train.labels = labels.where(torch.arange(len(labels)) % 4 < (self.num_classes > 0), -1)
        loaders.num_classes = self.num_classes
        return loaders


def test_supervised_learning_needs_labels(make_config, toy_data):
    config = make_config()
    config.model, config.data.open = SupervisedConfig(name="supervised"), SomeLabels(toy_data, 0).open
    with pytest.raises(ConfigError) as caught:
        Supervised(config).fit()
    assert (caught.value.key, caught.value.value) == ("model.name", "supervised")
    assert not RunFolder.of(config).path.exists()


def test_supervised_learning_ignores_unlabeled_images(make_config, toy_data):
    """Oracle: the cross-entropy of the labelled images of the batch."""
    found = {}

    class Small(Supervised):
        def initialize_modules(self):
            self.backbone = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 8))
            self.classifier = torch.nn.Linear(8, 4)

        def compute_loss(self):
            known = self.data[1] >= 0
            found["expected"] = torch.stack([
                torch.nn.functional.cross_entropy(self.forward(view[known]), self.data[1][known]) for view in self.data[0]
            ]).mean()  # fmt: skip
            found["loss"] = super().compute_loss()
            return found["loss"]

    config = make_config(optim__epochs=1, optim__max_steps=1, log__eval_every=0)
    config.model, config.data.open = SupervisedConfig(name="supervised"), SomeLabels(toy_data, 4).open
    Small(config).fit()
    torch.testing.assert_close(found["loss"], found["expected"])
