"""What an experiment is made of: each feature in a run, stopped in the middle and resumed, and what is refused by name."""

import dataclasses
import math
import shutil

import pytest
import torch

from ssl_core import ConfigError, ModelConfig, Teacher
from ssl_core.config import GROUPS
from ssl_core.config.validation import build_groups, check_groups
from ssl_core.run.folder import RunFolder

FEATURES = {
    "layer decay and weight decay schedule": {
        "optim__optimizer": "AdamW", "optim__lr": 1e-2, "optim__layer_decay": 0.5,
        "optim__weight_decay": 0.04, "optim__weight_decay_end": 0.4,
    },
    "LAMB": {"optim__optimizer": "LAMB", "optim__lr": 1e-2},
    "Muon": {"optim__optimizer": "Muon", "optim__lr": 1e-2, "optim__layer_decay": 0.5},
    "freeze": {"optim__optimizer": "AdamW", "optim__freeze": {"backbone": 2}},
    "warm start": {"model__init_from": "source"},  # a run made by the test, and gone when the stopped run goes on
    "early stopping": {"optim__epochs": 9, "optim__patience": 2, "optim__monitor": "toy/knn", "optim__min_delta": 0.5},
}  # fmt: skip


@pytest.fixture
def layered(tiny_model):
    """The tiny model with a layer more, whose backbone says what its layers are."""

    class Layered(tiny_model):
        def initialize_modules(self):
            super().initialize_modules()
            self.backbone.append(torch.nn.Linear(16, 16))
            self.backbone.layer_prefixes = [("1",), ("2",), ("4",)]

    return Layered


def lines(config):
    found = RunFolder.of(config).read_metrics()
    return [{key: value for key, value in line.items() if key != "train/images_per_second"} for line in found]


def same(ours, theirs):
    """Whether two nested states are equal to the bit."""
    if isinstance(theirs, torch.Tensor):
        return torch.equal(ours, theirs)
    if isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in theirs)
    if isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return ours == theirs


def state(model):
    return {
        name: part.state_dict() for name, part in model.parts().items() if name != "logger"
    }  # its lines are compared


@pytest.mark.parametrize("feature", FEATURES)
def test_resumed_run_equals_uninterrupted_run(make_config, layered, feature, tmp_path):
    """In the middle of an epoch; all state and all metrics are bit-identical."""
    changes = {"log__checkpoint_every_steps": 1, **FEATURES[feature]}
    source = tmp_path / "source"
    if "model__init_from" in changes:
        changes["model__init_from"] = str(source)
        layered(make_config(log__run="source", optim__epochs=1)).fit()
    whole = layered(make_config(log__run="whole", **changes))
    whole.fit()

    class Killed(layered):
        def before_train_step(self):
            if self.progress.step == 6:
                raise KeyboardInterrupt
            super().before_train_step()

    config = make_config(log__run="killed", **changes)
    with pytest.raises(KeyboardInterrupt):
        Killed(config).fit()
    shutil.rmtree(source, ignore_errors=True)
    resumed = layered(config)
    resumed.fit()
    assert lines(config) == lines(whole.config)
    assert same(state(resumed), state(whole))
    for run in (config, whole.config):
        assert RunFolder.of(run).read_summary()["status"] == "finished"


def test_momentum_of_teacher_follows_the_keys_of_the_method(make_config, tiny_model):
    """Oracle: BYOL's half a cosine from the first momentum to the last, and the moving average, written out."""

    @dataclasses.dataclass
    class TaughtConfig(ModelConfig):
        teacher_momentum: float = 0.9
        teacher_final_momentum: float = 0.9

    class Taught(tiny_model):
        config_class = TaughtConfig

        def initialize_modules(self):
            super().initialize_modules()
            model = self.config.model
            self.teacher = Teacher(self.backbone, model.teacher_momentum, model.teacher_final_momentum)
            self.expected = self.backbone[1].weight.detach().clone()

        def after_train_step(self):
            super().after_train_step()
            momentum = 1 - (1 - 0.5) * (1 + math.cos(math.pi * self.progress.step / 12)) / 2
            self.expected.mul_(momentum).add_((1 - momentum) * self.backbone[1].weight.detach())

    config = make_config()
    config.model = TaughtConfig("taught", teacher_momentum=0.5, teacher_final_momentum=1.0)
    model = Taught(config)
    model.fit()
    torch.testing.assert_close(model.teacher.model[1].weight, model.expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"optim__weight_decay": 0.0, "optim__weight_decay_end": 0.4}, "optim.weight_decay_end"),
        ({"optim__freeze": {"head": 0}}, "optim.freeze.head"),
        ({"optim__freeze": {"head": "1"}}, "optim.freeze.head"),
        ({"optim__patience": 3}, "optim.patience"),
    ],
)
def test_wrong_combination_raises_before_data_is_opened(make_config, tiny_model, changes, key):
    config = make_config(**changes)
    with pytest.raises(ConfigError) as caught:
        tiny_model(config).fit()
    assert caught.value.key == key
    assert config.data.opened == 0
    assert not RunFolder.of(config).path.exists()


def test_missing_initial_weights_raise_before_data_is_opened(make_config, tiny_model):
    config = make_config(model__init_from="nowhere")
    with pytest.raises(ConfigError, match=r"model\.init_from='nowhere': no such file or run folder"):
        tiny_model(config).fit()
    assert config.data.opened == 0


@pytest.mark.parametrize(
    ("group", "key", "value", "suggestion"),
    [
        ("optim", "layer_decy", 0.5, "optim.layer_decay"),
        ("optim", "layer_decay", 0.0, None),
        ("optim", "layer_decay", 1.5, None),
        ("optim", "weight_decay_end", -0.1, None),
        ("optim", "optimizer", "Muom", "Muon"),
        ("optim", "patience", -1, None),
        ("optim", "patience", 2.5, None),
        ("optim", "monitor", 3, None),
        ("optim", "min_delta", -1.0, None),
        ("optim", "freeze", "backbone", None),
        ("model", "init_from", True, None),
        ("model", "init_form", "runs/a", "model.init_from"),
        ("log", "export", "yes", None),
    ],
)
def test_typo_and_invalid_value_are_named(group, key, value, suggestion):
    with pytest.raises(ConfigError) as caught:
        check_groups(build_groups({group: GROUPS[group]}, {group: {key: value}}))
    assert (caught.value.key, caught.value.suggestion) == (f"{group}.{key}", suggestion)
