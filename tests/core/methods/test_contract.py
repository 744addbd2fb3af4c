"""Every method of METHODS: it trains, resumes to the bit, and is loaded from its run folder."""

import math

import pytest
import torch

from ssl_core import BaseModel
from ssl_core.methods import METHODS
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
def test_method_is_loaded_from_its_run_folder(make_method, toy_data, name):
    model = make_method(name, optim__max_steps=2)
    model.fit()
    images = torch.randn(5, 3, 8, 8)
    loaded = BaseModel.from_run(RunFolder.of(model.config).path, data=toy_data, device="cpu")
    assert type(loaded) is type(model)
    torch.testing.assert_close(loaded.extract(images), model.extract(images))


@pytest.mark.parametrize("name", TRAINED)
def test_bfloat16_training_is_finite(make_method, name):
    metrics = make_method(name, hardware__precision="bf16", optim__max_steps=3, optim__epochs=1).fit()
    assert math.isfinite(metrics["train/loss"])
