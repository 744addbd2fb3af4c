"""What the three methods give back: a mistake is one sentence that names the method, before it costs an epoch."""

import inspect
import re

import pytest
import torch
from torch import nn

from ssl_core import BaseModel, ConfigError, MethodError
from ssl_core.run.folder import RunFolder
from ssl_core.training.checks.method import RESERVED_TERMS
from ssl_losses import nt_xent

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
    "several elements": (lambda loss: {"a": loss, "b": loss.expand(3)}, r"a float32 tensor \(3,\) as the term 'b'"),
    "the total's name": (lambda loss: {"a": loss, "loss": loss}, "a term called 'loss': expected a name other than"),
    "a probe's name": (lambda loss: {"a": loss, "probe_backbone_loss": loss}, "a term called 'probe_backbone_loss'"),
    "a number as a name": (lambda loss: {1: loss}, "a term called 1: expected a name"),
    "detached": (lambda loss: loss.detach(), "a loss that depends on no parameter: was it detached, "),
}


@pytest.mark.parametrize(("spoil", "sentence"), LOSSES.values(), ids=LOSSES)
def test_invalid_loss_raises_at_first_step(make_config, tiny_model, spoil, sentence):
    class Mistaken(tiny_model):
        def compute_loss(self):
            return spoil(super().compute_loss()["classes"])

    config = make_config()
    with pytest.raises(MethodError, match=rf"^Mistaken\.compute_loss\(\) returned {sentence}"):
        Mistaken(config).fit()
    assert RunFolder.of(config).read_summary()["step"] == 0
    assert RunFolder.of(config).read_summary()["status"] == "failed"


def test_term_without_gradient_is_logged_and_not_added(make_config, tiny_model):
    class Logging(tiny_model):
        def compute_loss(self):
            return {**super().compute_loss(), "accuracy": torch.full((), 100.0)}

    metrics = Logging(make_config()).fit()
    assert metrics["train/accuracy"] == 100
    assert metrics["train/loss"] == pytest.approx(metrics["train/classes"] + metrics["train/distance"])


def test_every_name_that_the_loop_logs_is_reserved(make_config, tiny_model):
    """With every optional one among them."""
    config = make_config(optim__weight_decay_end=0.1)
    tiny_model(config).fit()
    names = {key.removeprefix("train/") for line in RunFolder.of(config).read_metrics() for key in line}
    names = {name for name in names if not name.startswith("toy/")} - {"classes", "distance", "probe_backbone_loss"}
    assert names == set(RESERVED_TERMS)
    assert set(re.findall(r'"train/(\w+)"', inspect.getsource(BaseModel))) <= set(RESERVED_TERMS)


@pytest.mark.parametrize(
    ("value", "name", "sentence"),
    [
        (torch.zeros(3), "train/x", r"the metric 'train/x' is a float32 tensor \(3,\): expected a number"),
        (0.0, "step", "a metric is called 'step', which each line"),
    ],
)
def test_wrong_metric_of_an_override_is_named(make_config, tiny_model, value, name, sentence):
    class Logging(tiny_model):
        def after_train_step(self):
            self.run.metrics.log(self.progress.step, self.progress.epoch, {"train/y": torch.ones(1), name: value})

    with pytest.raises(MethodError, match=f"^{sentence}"):
        Logging(make_config()).fit()


@pytest.mark.parametrize(
    ("views", "note"),
    [(1, r"a list of 1 view: 1 of shape \(16, 3, 8, 8\)"), (3, r"a list of 3 views: 3 of shape \(16,")],
)
def test_error_of_the_loss_names_the_views(make_config, tiny_model, toy_data, views, note):
    config = make_config()
    config.data = toy_data(views=views)
    with pytest.raises((RuntimeError, ValueError)) as error:
        tiny_model(config).fit()
    assert re.search(rf"TinyModel\.compute_loss\(\) was given self\.data\[0\]: {note}", error.value.__notes__[0])


def test_batch_of_one_is_a_configuration_error(make_config, tiny_model):
    """Of batch normalisation, and of a contrastive loss, in a user-defined method."""

    class Contrastive(tiny_model):
        def initialize_modules(self):
            self.backbone = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))

        def forward(self, x):
            return self.backbone(x)

        def compute_loss(self):
            return nt_xent(*map(self.backbone, self.data[0]))

    for run, (kind, sentence) in enumerate(
        ((tiny_model, "more than one value per channel"), (Contrastive, "at least 2"))
    ):
        with pytest.raises(ConfigError, match=sentence) as caught:
            kind(make_config(log__run=str(run), optim__batch_size=1)).fit()
        assert (caught.value.key, caught.value.value) == ("optim.batch_size", 1)


STATES = {
    "float64": (lambda: torch.set_default_dtype(torch.float64), r"torch\.get_default_dtype\(\) is torch\.float64"),
    "meta": (lambda: torch.set_default_device("meta"), r"torch\.get_default_device\(\) is 'meta'"),
    "no gradients": (lambda: torch.set_grad_enabled(False), "gradients are disabled by the calling script"),
    "autocast": (lambda: torch.set_autocast_enabled("cpu", True), "autocast is enabled by the calling script"),
}


@pytest.mark.parametrize(("change", "sentence"), STATES.values(), ids=STATES)
def test_global_state_of_torch_is_checked_before_data(make_config, tiny_model, change, sentence):
    config = make_config()
    model = tiny_model(config)
    try:
        change()
        with pytest.raises(ConfigError, match=sentence):
            model.fit()
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
        torch.set_grad_enabled(True)
        torch.set_autocast_enabled("cpu", False)
    assert config.data.opened == 0


def test_model_without_configuration_names_the_call(tiny_model):
    with pytest.raises(ConfigError, match=r"TinyModel\(\) has no configuration: expected TinyModel\(Config"):
        tiny_model().fit()


@pytest.mark.parametrize(
    ("spoil", "described"),
    [
        (lambda y: (y, y), "a tuple"),
        (lambda y: None, "None"),
        (lambda y: y.sum(), "a scalar of float32"),
        (lambda y: y[:1], r"a float32 tensor \(1, 4\)"),
    ],
)
def test_invalid_prediction_raises_before_first_step(make_config, tiny_model, spoil, described):
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
def test_invalid_representations_raise_before_first_step(make_config, tiny_model, encode, sentence):
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
    monkeypatch.setattr("ssl_core.training.checks.method.check_forward", lambda model: torch.zeros(2, 4))
    untried.fit()
    assert all(torch.equal(a, b) for a, b in zip(tried.state_dict().values(), untried.state_dict().values()))
