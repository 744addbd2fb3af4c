"""State that a checkpoint does not hold is named once, with the remedy; what is not state is not."""

import pytest
import torch
from torch import nn


def warnings(make_config, caplog, kind):
    kind(make_config(optim__epochs=1)).fit()
    return [record.getMessage() for record in caplog.records if record.name == "ssl_core.training.checks.unsaved_state"]


def with_state(base, **values):
    class Keeping(base):
        def initialize_modules(self):
            super().initialize_modules()
            for name, value in values.items():
                setattr(self, name, value)

    return Keeping


CHANGES = {
    "a tensor": (torch.zeros(2), lambda value: 0.9 * value + 1, r"self.register_buffer('mean', tensor)"),
    "a list": ([], lambda value: [*value, torch.ones(1)], r"self.register_buffer('mean', tensor)"),
    "a counter": (0, lambda value: value + 1, "derive it from self.progress.step"),
}


@pytest.mark.parametrize(("value", "change", "advice"), CHANGES.values(), ids=CHANGES)
def test_changing_attribute_is_named_once(make_config, tiny_model, caplog, value, change, advice):
    class Changing(with_state(tiny_model, mean=value)):
        def compute_loss(self):
            self.mean = change(self.mean)
            self.latest = self.data[0][0] + 1  # set anew in each step: not a state
            return super().compute_loss()

    [warning] = warnings(make_config, caplog, Changing)
    assert warning.startswith("self.mean changes in training and is not saved")
    assert advice in warning


@pytest.mark.parametrize(
    ("value", "remedy"),
    [([nn.Linear(2, 2)], "nn.ModuleList"), ({"a": [nn.Parameter(torch.zeros(1))]}, "nn.ParameterList")],
)
def test_modules_in_containers_are_named(make_config, tiny_model, caplog, value, remedy):
    [warning] = warnings(make_config, caplog, with_state(tiny_model, heads=value))
    assert warning.startswith(f"self.heads is a {type(value).__name__} with a")
    assert remedy in warning


def test_constants_and_registered_modules_are_not_named(make_config, tiny_model, caplog):
    kind = with_state(tiny_model, anchors=torch.ones(3), sizes=[1, 2], scale=0.5, name="x")
    assert warnings(make_config, caplog, kind) == []
