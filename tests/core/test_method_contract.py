"""What the three methods give back: a mistake is one sentence that names the method, before it costs an epoch."""

import pytest
import torch
from torch import nn

from ssl_core import MethodError
from ssl_core.run_folder import RunFolder

LOSSES = {
    "no mean": (
        lambda loss: torch.stack([loss, loss]),
        r"a float32 tensor \(2,\): expected a scalar tensor, or a dict",
    ),
    "a number": (lambda loss: 2.5, r"2\.5: expected a scalar tensor"),
    "nothing": (lambda loss: None, "None: expected a scalar tensor"),
    "two": (lambda loss: (loss, loss), "a tuple: expected a scalar tensor"),
    "a whole number": (lambda loss: {"a": loss, "b": loss.long()}, "a scalar of int64 as the term 'b': expected"),
    "a number among terms": (lambda loss: {"a": loss, "b": 0.5}, r"0\.5 as the term 'b': expected"),
    "no term": (lambda loss: {}, "an empty dict: expected"),
    "detached": (lambda loss: loss.detach(), "a loss that depends on no parameter: was it detached, "),
}


@pytest.mark.parametrize(("spoil", "sentence"), LOSSES.values(), ids=LOSSES)
def test_a_loss_that_is_none_is_said_at_the_first_step(make_config, tiny_model, spoil, sentence):
    class Mistaken(tiny_model):
        def compute_loss(self):
            return spoil(super().compute_loss()["classes"])

    config = make_config()
    with pytest.raises(MethodError, match=rf"^Mistaken\.compute_loss\(\) returned {sentence}"):
        Mistaken(config).fit()
    assert RunFolder.of(config).read_summary()["step"] == 0
    assert RunFolder.of(config).read_summary()["status"] == "failed"


def test_a_term_that_is_only_logged_may_depend_on_no_parameter(make_config, tiny_model):
    class Logging(tiny_model):
        def compute_loss(self):
            return {**super().compute_loss(), "nothing": torch.zeros(())}

    assert Logging(make_config()).fit()["train/nothing"] == 0


@pytest.mark.parametrize(
    ("spoil", "described"),
    [
        (lambda y: (y, y), "a tuple"),
        (lambda y: None, "None"),
        (lambda y: y.sum(), "a scalar of float32"),
        (lambda y: y[:1], r"a float32 tensor \(1, 4\)"),
    ],
)
def test_a_prediction_that_is_none_is_said_before_the_first_step(make_config, tiny_model, spoil, described):
    class Mistaken(tiny_model):
        def forward(self, x):
            return spoil(super().forward(x))

        def compute_loss(self):
            raise AssertionError("a step was taken")

    sentence = (
        rf"^Mistaken\.forward\(\) returned {described} for images \(2, 3, 8, 8\): expected a tensor with a row for each"
    )
    with pytest.raises(MethodError, match=sentence):
        Mistaken(make_config()).fit()


@pytest.mark.parametrize(
    ("encode", "sentence"),
    [
        (lambda x: x.flatten(1), r"a float32 tensor \(2, 192\): expected a dict of tensors \(N, D\) by name"),
        (lambda x: {}, "a dict: expected a dict of tensors"),
        (lambda x: {"pixels": x}, r"a float32 tensor \(2, 3, 8, 8\) as 'pixels' .*: expected a tensor \(N, D\)"),
        (lambda x: {"pixels": None}, "None as 'pixels' .*: expected a tensor"),
    ],
)
def test_representations_that_are_none_are_said_before_the_first_step(make_config, tiny_model, encode, sentence):
    class Mistaken(tiny_model):
        def encode(self, x):
            return encode(x)

    with pytest.raises(MethodError, match=rf"^Mistaken\.encode\(\) returned {sentence}"):
        Mistaken(make_config()).fit()


def test_a_lazy_module_is_named(make_config, tiny_model):
    class Lazy(tiny_model):
        def initialize_modules(self):
            super().initialize_modules()
            self.head = nn.LazyLinear(4)

    with pytest.raises(
        MethodError, match=r"^Lazy\.initialize_modules\(\) made 'head\.weight' lazy, .*image_shape is known"
    ):
        Lazy(make_config()).fit()


def test_trying_the_prediction_out_changes_nothing(make_config, tiny_model, monkeypatch):
    """With and without, the weights after training are the same to the bit."""
    tried, untried = tiny_model(make_config(log__run="a")), tiny_model(make_config(log__run="b"))
    tried.fit()
    monkeypatch.setattr("ssl_core.base_model.try_forward", lambda model: None)
    untried.fit()
    assert all(torch.equal(a, b) for a, b in zip(tried.state_dict().values(), untried.state_dict().values()))
