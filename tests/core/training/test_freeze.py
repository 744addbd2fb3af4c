"""Frozen modules do not change; after their epochs they do."""

import pytest
import torch

from ssl_core import ConfigError
from ssl_core.run.folder import RunFolder
from ssl_core.training.freeze import Freeze


def watched(method, seen):
    """Return the class with its state noted after every epoch, and at the beginning."""

    class Watched(method):
        def before_train_epoch(self):
            seen.append({name: tensor.clone() for name, tensor in self.state_dict().items()})

        def after_train_epoch(self):
            self.before_train_epoch()

    return Watched


def moved(seen, epoch):
    before, after = seen[2 * epoch : 2 * epoch + 2]
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_module_is_frozen_for_given_epochs(make_config, tiny_model):
    """Weights with weight decay, batch statistics and their counter."""
    seen = []
    config = make_config(optim__freeze={"backbone": 2}, optim__weight_decay=0.1, optim__accumulation_steps=2)
    model = watched(tiny_model, seen)(config)
    model.fit()
    head = {"head.weight", "head.bias"}
    backbone = {name for name in seen[0] if name.startswith("backbone")} - {"backbone.1.bias"}  # undone by the norm
    assert {"backbone.2.running_mean", "backbone.2.num_batches_tracked"} < backbone
    assert moved(seen, 0) == moved(seen, 1) == head
    assert moved(seen, 2) == head | backbone
    assert len(model.optimizer.state) == 6
    losses = [line["train/probe_backbone_loss"] for line in RunFolder.of(config).read_metrics()]
    assert losses[3] < losses[0]  # the probe watches what is frozen as well


def test_module_frozen_for_whole_run_is_not_in_optimizer(make_config, tiny_model):
    seen = []
    model = watched(tiny_model, seen)(make_config(optim__freeze={"backbone.1": -1, "backbone": {"2": -1}}))
    model.fit()
    assert [moved(seen, epoch) for epoch in range(3)] == [{"head.weight", "head.bias"}] * 3
    assert not model.backbone[1].weight.requires_grad
    assert sum(len(group["params"]) for group in model.optimizer.param_groups) == 2


def test_frozen_head_equals_dino_cancelled_gradients(make_config, tiny_model):
    """Oracle: the hook written by hand as in DINO, which sets the gradients of the first epoch to None."""

    class ByHand(tiny_model):
        def train_step(self, batch):
            cancelled = self.run.precision.gradient_norm

            def cancel(*arguments):
                for parameter in self.head.parameters():
                    parameter.grad = None if self.progress.epoch < 1 else parameter.grad
                return cancelled(*arguments)

            self.run.precision.gradient_norm = cancel
            result = super().train_step(batch)
            self.run.precision.gradient_norm = cancelled
            return result

    ours = tiny_model(make_config(log__run="ours", optim__freeze={"head": 1}, optim__grad_max_norm=0.5))
    theirs = ByHand(make_config(log__run="theirs", optim__grad_max_norm=0.5))
    plain = tiny_model(make_config(log__run="plain", optim__grad_max_norm=0.5))
    for model in (ours, theirs, plain):
        model.fit()
    assert all(torch.equal(one, other) for one, other in zip(ours.state_dict().values(), theirs.state_dict().values()))
    assert not torch.equal(ours.head.weight, plain.head.weight)


@pytest.mark.parametrize(
    ("freeze", "sentence"),
    [
        (
            {"backbon": 1},
            r"optim\.freeze\.backbon=1: there is no such module with parameters; did you mean 'backbone'\?",
        ),
        ({"backbone.0": 1}, r"optim\.freeze\.backbone\.0=1: there is no such module with parameters"),  # nn.Flatten
        ({"xyz": -1}, r"optim\.freeze\.xyz=-1: .* expected one of 'backbone', 'backbone\.1', 'backbone\.2', 'head'"),
        ({"backbone": 3, "head": -1}, r"optim\.freeze=.*: nothing is left to train in the first epoch"),
    ],
)
def test_invalid_freeze_raises_before_first_step(make_config, tiny_model, freeze, sentence):
    model = tiny_model(make_config(optim__freeze=freeze))
    with pytest.raises(ConfigError, match=sentence):
        model.fit()
    assert model.progress.step == 0


def test_nothing_is_frozen_by_default():
    module = torch.nn.Linear(2, 2)
    freeze = Freeze({})
    freeze.begin(module)
    module.weight.grad = torch.ones(2, 2)
    freeze.cancel_gradients(0)
    freeze.set_mode(0)
    assert module.training
    assert module.weight.grad is not None
