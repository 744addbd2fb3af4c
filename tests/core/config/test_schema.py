"""Configurations that are made in Python. tests/launch/test_strict.py compares every key with the command line."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ssl_core import Config, ConfigError, HardwareConfig, LogConfig, OptimConfig
from ssl_core.config.fine_tuning import FineTuning


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"optim": OptimConfig(epochs="3")}, "optim.epochs='3': expected a whole number, at least 0"),
        ({"optim": OptimConfig(grad_max_norm=-1)}, "optim.grad_max_norm=-1: expected a number or null, above 0"),
        (
            {"hardware": HardwareConfig(device="gpu")},
            "hardware.device='gpu': expected one of 'auto', 'cpu', 'cuda'; did",
        ),
        ({"hardware": HardwareConfig(precision="bf17")}, "hardware.precision='bf17': expected one of 'auto', 'fp32',"),
        ({"log": LogConfig(every_steps=0)}, "log.every_steps=0: expected a whole number, at least 1"),
        ({"optim": {"lr": 1}}, "optim={'lr': 1}: expected an instance of OptimConfig"),
        ({"optim": HardwareConfig()}, "optim=HardwareConfig(seed=0, "),
        ({"data": None}, "data=None: expected an object with open("),
    ],
)
def test_fit_refuses_wrong_python_values(make_config, tiny_model, changes, sentence):
    config = make_config()
    for group, value in changes.items():
        setattr(config, group, value)
    with pytest.raises(ConfigError) as caught:
        tiny_model(config).fit()
    assert str(caught.value).startswith(sentence)


def test_fit_refuses_wrong_values_of_a_data_dataclass(make_config, tiny_model, toy_data):
    @dataclass
    class Mine:
        size: int = 8
        folder: str = None  # a default is not checked

        def open(self, *ranks):
            return toy_data().open(*ranks)

    config = make_config()
    config.data = Mine(size="8")
    with pytest.raises(ConfigError, match=r"data\.size='8': expected a whole number"):
        tiny_model(config).fit()
    config.data = Mine
    with pytest.raises(ConfigError, match=r"data=<class .*Mine'>: expected an object with open"):
        tiny_model(config).fit()


def test_compatible_python_values_become_the_annotated_types(toy_data):
    optim = OptimConfig(lr=1, epochs=np.int64(3), weight_decay=np.float32(0.5), max_steps=np.int64(2))
    config = Config(toy_data(), optim=optim, log=LogConfig(folder=Path("outputs"), run="run"))
    config.check()
    values = [optim.lr, optim.epochs, optim.weight_decay, optim.max_steps, config.log.folder]
    assert values == [1.0, 3, 0.5, 2, "outputs"]
    assert [type(value) for value in values] == [float, int, float, int, str]


def test_fine_tuning_made_in_python_is_checked():
    with pytest.raises(ConfigError, match=r"eval\.finetune\.epochs='3': expected a whole number, at least 1"):
        FineTuning(epochs="3").check()
