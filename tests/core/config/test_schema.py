"""Validation of configurations made in Python. test_config_validation.py of ssl-launch compares it with the command line."""

import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ssl_core import Config, ConfigError, HardwareConfig, LogConfig, OptimConfig
from ssl_core.config.validation import build_groups, check_groups, full_keys
from ssl_core.methods.macl import MACLConfig
from ssl_eval import Protocol
from ssl_losses import NTXentLoss


@pytest.mark.parametrize(
    ("group", "value", "key", "suggestion"),
    [
        ("optim", OptimConfig(epochs="3"), "optim.epochs", None),
        ("optim", OptimConfig(grad_max_norm=-1), "optim.grad_max_norm", None),
        ("hardware", HardwareConfig(device="gpu"), "hardware.device", "cuda"),
        ("hardware", HardwareConfig(seed=2**63), "hardware.seed", None),  # masks and directions are computed in int64
        ("hardware", HardwareConfig(precision="bf17"), "hardware.precision", "bf16"),
        ("log", LogConfig(every_steps=0), "log.every_steps", None),
        ("optim", {"lr": 1}, "optim", None),
        ("optim", HardwareConfig(), "optim", None),
        ("data", None, "data", None),
        ("model", MACLConfig(alpha=2.0), "model.alpha", None),
        ("model", MACLConfig(a_0=-0.5), "model.a_0", None),
    ],
)
def test_wrong_python_value_raises_at_fit(make_config, tiny_model, group, value, key, suggestion):
    config = make_config()
    setattr(config, group, value)
    with pytest.raises(ConfigError) as caught:
        tiny_model(config).fit()
    assert (caught.value.key, caught.value.suggestion) == (key, suggestion)


def test_wrong_value_of_a_user_defined_data_class_raises(make_config, tiny_model, toy_data):
    @dataclass(frozen=True)
    class Mine:
        size: int = 8
        folder: str = None  # a default is not checked

        def open(self, *ranks):
            return toy_data().open(*ranks)

    config = make_config()
    for config.data, key, value in ((Mine(size="8"), "data.size", "8"), (Mine, "data", Mine)):
        with pytest.raises(ConfigError) as caught:
            tiny_model(config).fit()
        assert (caught.value.key, caught.value.value) == (key, value)


def test_key_without_default_has_to_be_given():
    @dataclass
    class Mine:
        size: int

    with pytest.raises(ConfigError) as caught:
        build_groups({"data": Mine}, {"data": {}})
    assert caught.value.key == "data.size"
    assert build_groups({"data": Mine}, {"data": {"size": 3}})["data"] == Mine(3)


def test_compatible_python_values_become_the_annotated_types(toy_data):
    optim = OptimConfig(lr=1, epochs=np.int64(3), weight_decay=np.float32(0.5), max_steps=np.int64(2))
    config = Config(toy_data(), optim=optim, log=LogConfig(folder=Path("outputs"), run="run"))
    config.check()
    values = [optim.lr, optim.epochs, optim.weight_decay, optim.max_steps, config.log.folder]
    assert values == [1.0, 3, 0.5, 2, "outputs"]
    assert [type(value) for value in values] == [float, int, float, int, str]


def test_fields_of_an_error_survive_pickling():
    error = pickle.loads(pickle.dumps(ConfigError("why", key="optim.lr", value=-1, expected="more", suggestion="1")))
    assert (error.reason, error.key, error.value, error.expected, error.suggestion) == (
        "why",
        "optim.lr",
        -1,
        "more",
        "1",
    )
    assert str(error) == "optim.lr=-1: why; expected more; did you mean '1'?"


def test_error_of_an_argument_gets_its_group():
    """ssl-eval and ssl-losses know no configuration: they name the argument alone."""

    @dataclass
    class Mine:
        temperature: float = -1.0

        def check(self):
            raise ValueError("unrelated=3: not a field")

    with pytest.raises(ConfigError, match=r"^eval.knn=\[0\]: expected numbers of at least 1$") as caught:
        check_groups({"eval": Protocol(knn=[0])})
    assert caught.value.key == "eval.knn"
    with pytest.raises(ConfigError, match=r"^model.temperature must be finite") as caught, full_keys("model", Mine()):
        NTXentLoss(temperature=-1.0)
    assert caught.value.key == "model.temperature"
    with pytest.raises(ValueError, match=r"^unrelated=3") as caught:
        check_groups({"mine": Mine(temperature=1.0)})
    assert not isinstance(caught.value, ConfigError)
