"""Every method of METHODS: it trains, resumes to the bit, is loaded from its run folder and exported.

What needs two ranks is in ``test_contract_on_ranks.py``, the compiled loss in ``tests/core/training/test_compilation.py``.
"""

import dataclasses
import inspect
import math
import re

import pytest
import torch

from ssl_core import BaseModel, ConfigError, ModelConfig
from ssl_core.checkpoint.export import export_backbone, load_exported
from ssl_core.config.validation import check_groups
from ssl_core.methods import METHODS, method_class
from ssl_core.run.folder import RunFolder

TRAINED = [name for name in METHODS if name != "baseline"]


@pytest.mark.parametrize("name", TRAINED)
def test_every_trainable_parameter_gets_a_finite_gradient(make_method, name):
    model = make_method(name, log__eval_every=0)
    touched = set()

    def record(name):
        def hook(parameter):
            assert parameter.grad.isfinite().all(), name
            if parameter.grad.any():
                touched.add(name)

        return hook

    def watch():
        for key, parameter in model.named_parameters():
            if parameter.requires_grad and model.progress.epoch == 0:
                parameter.register_post_accumulate_grad_hook(record(key))

    model.before_train_epoch = watch
    metrics = model.fit()
    assert math.isfinite(metrics["train/loss"])
    trainable = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    # a bias before a batch normalisation, or of the keys of attention, has a gradient of zero up to rounding
    assert {key for key in trainable - touched if not key.endswith("bias")} == set()


@pytest.mark.parametrize("name", TRAINED)
def test_resume_equals_uninterrupted_run(make_method, name):
    """Queues, centres, teachers, masks and directions included. The run fails in step 5, after a checkpoint of step 3."""
    whole = make_method(name)
    whole.fit()
    broken = make_method(name, log__run="broken")

    def fail():
        if broken.progress.step == 5:
            raise RuntimeError("stop here")

    broken.before_train_step = fail
    with pytest.raises(RuntimeError, match="stop here"):
        broken.fit()
    resumed = make_method(name, log__run="broken")
    resumed.fit()
    ours, theirs = resumed.state_dict(), whole.state_dict()
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        assert torch.equal(ours[key], value), key


@pytest.mark.parametrize("name", TRAINED)
def test_method_is_loaded_from_its_run_folder_and_exported(make_method, toy_data, name):
    model = make_method(name, optim__max_steps=2, optim__epochs=1, log__eval_every=0)
    model.fit()
    images, folder = torch.randn(5, 3, 8, 8), RunFolder.of(model.config).path
    loaded = BaseModel.from_run(folder, data=toy_data, device="cpu")
    assert type(loaded) is type(model)
    expected = model.extract(images)
    torch.testing.assert_close(loaded.extract(images), expected)
    backbone = load_exported(export_backbone(folder))
    torch.testing.assert_close(backbone(images).detach(), model.encode(images)["backbone"].detach())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("name", TRAINED)
def test_training_in_half_precision_is_finite(make_method, name, precision):
    """No step is skipped: without an initial loss scale of 65536, which a few steps have to halve, nothing overflows."""
    changes = {"hardware__precision": precision, "optim__max_steps": 3, "optim__epochs": 1, "log__eval_every": 0}
    model = make_method(name, **changes)
    scaler = torch.amp.GradScaler("cpu", init_scale=1.0).state_dict()
    model.before_train_epoch = lambda: model.run.precision.load_state_dict(scaler)
    metrics = model.fit()
    assert math.isfinite(metrics["train/loss"])
    assert model.progress.step == 3
    assert all(value.isfinite().all() for value in model.state_dict().values())


OWN_KEYS = [
    (name, field)
    for name in METHODS
    for field in dataclasses.fields(method_class(name).config_class)
    if field.name not in {each.name for each in dataclasses.fields(ModelConfig)}
]


@pytest.mark.parametrize(("name", "field"), OWN_KEYS, ids=[f"{name}.{field.name}" for name, field in OWN_KEYS])
def test_every_key_has_a_comment_and_a_range(name, field):
    """A number has a bound, and a value outside is a ConfigError with the key; a string has choices."""
    source = "".join(inspect.getsource(each) for each in method_class(name).config_class.__mro__[:-1])
    [definition, *_] = re.findall(rf"^    {field.name}: (?:.*\n)(?:     .*\n|    \).*\n)*", source, re.MULTILINE)
    assert re.search(r"#\s+\S+ ?\S+", definition)
    if field.type in (bool, "bool") or (name, field.name) == ("salt", "teacher"):  # the place of a file has no range
        return
    bounds = {"low": -math.inf, "above": -math.inf, "high": math.inf, "below": math.inf, "choices": "no such choice"}
    outside = [value for bound, value in bounds.items() if bound in field.metadata]
    assert outside
    for value in outside:
        number = -(10**9) if value == -math.inf else 10**9
        changes = {field.name: value if isinstance(value, str) else number}
        if "list" in str(field.type):
            changes = {field.name: [*changes.values()]}
        with pytest.raises(ConfigError) as caught:
            check_groups({"model": method_class(name).config_class(name=name, **changes)})
        assert caught.value.key == f"model.{field.name}"
