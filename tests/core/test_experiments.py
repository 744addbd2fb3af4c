"""What an experiment is made of: each feature in a run, stopped in the middle and resumed, and what is refused by name."""

import dataclasses
import math
import shutil

import pytest
import torch

from ssl_core import ConfigError, ModelConfig, Teacher
from ssl_core.config import GROUPS
from ssl_core.config.validation import validation_errors
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


def test_the_momentum_of_a_teacher_is_a_schedule_of_the_methods_own_keys(make_config, tiny_model):
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
    ("changes", "sentence"),
    [
        (
            {"optim__weight_decay": 0.0, "optim__weight_decay_end": 0.4},
            r"optim\.weight_decay_end=0\.4 needs a weight decay to begin with: optim\.weight_decay=0\.0",
        ),
        ({"model__init_from": "nowhere"}, r"model\.init_from='nowhere': there is no such file or run folder"),
        ({"optim__freeze": {"head": 0}}, r"optim\.freeze\.head=0: expected a whole number of epochs, or -1: for good"),
        ({"optim__freeze": {"head": "1"}}, r"optim\.freeze\.head='1': expected a whole number of epochs"),
        ({"optim__patience": 3}, r"optim\.patience=3: of which metric\? give optim\.monitor"),
    ],
)
def test_what_cannot_be_is_refused_before_any_data_is_opened(make_config, tiny_model, changes, sentence):
    config = make_config(**changes)
    with pytest.raises(ConfigError, match=sentence):
        tiny_model(config).fit()
    assert config.data.opened == 0
    assert not RunFolder.of(config).path.exists()


@pytest.mark.parametrize(
    ("group", "key", "value", "sentence"),
    [
        ("optim", "layer_decy", 0.5, "unknown key; did you mean 'optim.layer_decay'?"),
        ("optim", "layer_decay", 0.0, "expected a number, at most 1 and above 0"),
        ("optim", "layer_decay", 1.5, "expected a number, at most 1 and above 0"),
        ("optim", "weight_decay_end", -0.1, "expected a number or null, at least 0"),
        ("optim", "optimizer", "Muom", "did you mean 'Muon'?"),
        ("optim", "patience", -1, "expected a whole number, at least 0"),
        ("optim", "patience", 2.5, "expected a whole number, at least 0"),
        ("optim", "monitor", 3, "expected a word or null"),
        ("optim", "min_delta", -1.0, "expected a number, at least 0"),
        ("optim", "freeze", "backbone", "expected a mapping {key: value}"),
        ("model", "init_from", True, "expected a word or null"),
        ("model", "init_form", "runs/a", "unknown key; did you mean 'model.init_from'?"),
        ("log", "export", "yes", "expected true or false"),
    ],
)
def test_a_typo_and_an_impossible_value_are_named(group, key, value, sentence):
    ((name, said),) = validation_errors({group: {key: value}}, GROUPS)
    assert name == f"{group}.{key}"
    assert said.startswith(name)
    assert sentence in said
