"""Parameter groups: default exclusions, options of a method's groups, errors, resume."""

import math

import pytest
import torch
from torch import nn

from ssl_core import MethodError
from ssl_core.optimizers import check_parameter_groups, split_groups
from ssl_core.run.folder import RunFolder


def half_cosine(step, total=12):
    return (1 + math.cos(math.pi * step / total)) / 2


def test_biases_and_norms_have_no_weight_decay():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(144, 5))
    decayed, excluded = split_groups(module, weight_decay=0.1)
    assert (decayed["weight_decay"], excluded["weight_decay"]) == (0.1, 0.0)
    assert [parameter.shape for parameter in decayed["params"]] == [(4, 3, 3, 3), (5, 144)]
    assert [parameter.shape for parameter in excluded["params"]] == [(4,), (4,), (4,), (5,)]


def test_shared_parameter_is_once_and_frozen_one_never():
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    module[1].weight = module[0].weight
    module[2].requires_grad_(False)
    groups = check_parameter_groups(module, [{"params": [*module[0].parameters(), *module[1].parameters()]}])
    for split in (split_groups(module, weight_decay=0.1), split_groups(module, groups, weight_decay=0.1)):
        assert [len(group["params"]) for group in split] == [1, 2]
    assert len(split_groups(nn.BatchNorm1d(3))) == 1  # no empty group


class Grouped:
    """Every option of a group, in one method."""

    def initialize_modules(self):
        super().initialize_modules()
        self.backbone.append(nn.Linear(16, 16))
        self.backbone.layer_prefixes = [("1",), ("2",), ("4",)]
        self.last = nn.Linear(16, self.num_classes)
        self.bare = nn.Linear(16, self.num_classes)

    def forward(self, x):
        features = self.backbone(x)
        return self.head(features) + self.last(features) + self.bare(features)

    def parameter_groups(self):
        return [
            {"params": self.backbone.parameters()},
            {"params": self.head.parameters(), "lr_schedule": "constant", "betas": (0.8, 0.95)},
            {"params": self.last.parameters(), "lr_scale": 2, "weight_decay": 0.3, "frozen_epochs": 1},
            {"params": self.bare.parameters(), "lr_schedule": lambda step: 0.9**step},
        ]


CHANGES = {
    "optim__optimizer": "AdamW", "optim__lr": 0.01, "optim__betas": [0.9, 0.98], "optim__layer_decay": 0.5,
    "optim__weight_decay": 0.04, "optim__weight_decay_end": 0.4,
}  # fmt: skip


@pytest.fixture
def grouped(tiny_model):
    return type("Grouped", (Grouped, tiny_model), {})


def test_groups_follow_their_options(make_config, grouped):
    """Oracle: learning rate and weight decay of each parameter at each step, written out."""
    seen = []

    class Watched(grouped):
        def after_train_step(self):
            names = {parameter: name for name, parameter in self.named_parameters()}
            seen.append({names[p]: group.copy() for group in self.optimizer.param_groups for p in group["params"]})

    Watched(make_config(**CHANGES)).fit()
    assert len(seen) == 12
    for step, found in enumerate(seen):
        cosine, decay = half_cosine(step), 1 + 9 * (1 - half_cosine(step))
        expected = {
            "backbone.4.weight": (0.005 * cosine, 0.04 * decay, (0.9, 0.98)),
            "backbone.1.weight": (0.00125 * cosine, 0.04 * decay, (0.9, 0.98)),
            "backbone.1.bias": (0.00125 * cosine, 0.0, (0.9, 0.98)),
            "head.weight": (0.01, 0.04 * decay, (0.8, 0.95)),
            "head.bias": (0.01, 0.0, (0.8, 0.95)),
            "last.weight": (0.02 * cosine, 0.3 * decay, (0.9, 0.98)),
            "last.bias": (0.02 * cosine, 0.3 * decay, (0.9, 0.98)),
            "bare.weight": (0.01 * 0.9**step, 0.04 * decay, (0.9, 0.98)),
        }
        for name, (lr, weight_decay, betas) in expected.items():
            assert found[name]["lr"] == pytest.approx(lr, rel=1e-12), name
            assert found[name]["weight_decay"] == pytest.approx(weight_decay, rel=1e-12), name
            assert found[name]["betas"] == betas, name


def test_frozen_epochs_equal_optim_freeze(make_config, tiny_model):
    """Oracle: ``optim.freeze`` of the same module, which holds batch normalization: weights and statistics."""

    class ByGroup(tiny_model):
        def parameter_groups(self):
            return [
                {"params": self.backbone.parameters(), "frozen_epochs": 2},
                {"params": self.head.parameters()},
            ]

    by_group = ByGroup(make_config(log__run="group"))
    by_name = tiny_model(make_config(log__run="name", optim__freeze={"backbone": 2}))
    for model in (by_group, by_name):
        model.fit()
    assert by_group.backbone[2].num_batches_tracked == 8  # two views in four batches of the third epoch
    for ours, theirs in zip(by_group.state_dict().values(), by_name.state_dict().values()):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("changes", [{}, {"optim__accumulation_steps": 2}, {"optim__optimizer": "Muon"}])
def test_resumed_run_equals_uninterrupted_run(make_config, grouped, changes):
    """Stopped in the epoch after the thaw; with every option of a group, all state is bit-identical."""
    changes = {**CHANGES, "log__checkpoint_every_steps": 1, **changes}
    if changes["optim__optimizer"] == "Muon":
        changes["optim__layer_decay"] = 1.0
    whole = grouped(make_config(log__run="whole", **changes))
    whole.fit()

    class Killed(grouped):
        def before_train_step(self):
            if self.progress.epoch == 1 and self.progress.batch == 2:
                raise KeyboardInterrupt

    config = make_config(log__run="killed", **changes)
    with pytest.raises(KeyboardInterrupt):
        Killed(config).fit()
    resumed = grouped(config)
    resumed.fit()
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)
    ours, theirs = resumed.optimizer.state_dict(), whole.optimizer.state_dict()
    assert ours["param_groups"] == theirs["param_groups"]
    torch.testing.assert_close(ours["state"], theirs["state"], rtol=0, atol=0)


ERRORS = {
    "no list": (lambda m: m.parameters(), r"returned a generator: expected a list of dicts, e\.g\. \[\{'params'"),
    "unknown key": (lambda m: [{"params": [], "lr_scal": 1}], r"\[0\]\.lr_scal: unknown key; did you mean '.*lr_scale'\?"),
    "lr": (lambda m: [{"params": [], "lr": 1.0}], r"\[0\]\.lr: unknown key"),
    "negative scale": (lambda m: [{"params": [], "lr_scale": -1}], r"\[0\]\.lr_scale=-1: expected a number, at least 0"),
    "scale as text": (lambda m: [{"params": [], "lr_scale": "2"}], r"\[0\]\.lr_scale='2': .*expected a number"),
    "schedule": (
        lambda m: [{"params": [], "lr_schedule": "cosin"}],
        r"\[0\]\.lr_schedule='cosin': expected one of 'constant', 'cosine'; did you mean 'cosine'\?",
    ),
    "schedule of None": (
        lambda m: [{"params": m.parameters(), "lr_schedule": lambda step: None}],
        r"\[0\]\.lr_schedule is a function that returns None: expected",
    ),
    "weight decay": (lambda m: [{"params": [], "weight_decay": -0.1}], r"\[0\]\.weight_decay=-0\.1: expected a number"),
    "frozen epochs": (lambda m: [{"params": [], "frozen_epochs": -1}], r"\[0\]\.frozen_epochs=-1: expected an integer"),
    "betas": (lambda m: [{"params": m.parameters(), "betas": [0.9, 1.0]}], r"\[0\]\.betas=\[0\.9, 1\.0\]: expected two"),
    "betas of SGD": (
        lambda m: [{"params": m.parameters(), "betas": [0.9, 0.99]}],
        r"\[0\]\.betas=\[0\.9, 0\.99\]: optim\.optimizer='SGD' has no betas; remove them",
    ),
    "no params": (lambda m: [{"lr_scale": 1.0}], r"\[0\]\.params: expected a value"),
    "a module": (lambda m: [{"params": m.head}], r"\[0\]\.params=a Linear: expected parameters"),
    "foreign": (
        lambda m: [{"params": [*m.parameters(), nn.Parameter(torch.zeros(3))]}],
        r"\[0\]\.params: contains a float32 tensor \(3,\), which is not a parameter of the model",
    ),
    "twice": (
        lambda m: [{"params": m.parameters()}, {"params": m.head.parameters()}],
        r": 'head\.weight' is in groups 0 and 1; expected one group for each parameter",
    ),
    "missing": (
        lambda m: [{"params": m.head.parameters()}],
        r": 'backbone\.1\.weight', 'backbone\.1\.bias', 'backbone\.2\.weight' and 1 more: trainable and in no group",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("groups", "sentence"), ERRORS.values(), ids=ERRORS)
def test_invalid_groups_raise_before_training(make_config, tiny_model, groups, sentence):
    model = type("Mistaken", (tiny_model,), {"parameter_groups": groups})(make_config())
    with pytest.raises(MethodError, match=rf"parameter_groups\(\).*{sentence}"):
        model.fit()
    assert model.progress.step == 0


def test_all_groups_frozen_raises(make_config, tiny_model):
    groups = {"parameter_groups": lambda self: [{"params": self.parameters(), "frozen_epochs": 1}]}
    with pytest.raises(ValueError, match=r"frozen_epochs of parameter_groups\(\): nothing is left to train"):
        type("Frozen", (tiny_model,), groups)(make_config()).fit()


def test_default_groups_are_all_parameters(make_config, tiny_model):
    """Bit-identical to the class of ``torch.optim`` with its groups written out."""

    class ByHand(tiny_model):
        def initialize_optimizer(self):
            weights, others = [p for p in self.parameters() if p.ndim > 1], [p for p in self.parameters() if p.ndim < 2]
            groups = [{"params": weights, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
            self.optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)

    ours = tiny_model(make_config(log__run="ours", optim__weight_decay=0.1))
    theirs = ByHand(make_config(log__run="theirs", optim__weight_decay=0.1))
    for model in (ours, theirs):
        model.fit()
    assert all(torch.equal(one, other) for one, other in zip(ours.state_dict().values(), theirs.state_dict().values()))
    assert RunFolder.of(ours.config).read_metrics()[0]["train/lr"] == 0.1
