"""What is sharded, and what is refused. Whether it computes the same: ``test_distributed_run.py``."""

import pytest
import torch
from torch import nn

from ssl_core.distributed.fsdp import _blocks, _units, shard
from ssl_core.errors import ConfigError
from ssl_core.modules.ema import Teacher


def test_shard_units_are_the_modules_of_the_model():
    model = nn.Module()
    model.backbone, model.drop = nn.Linear(2, 2), nn.Dropout()
    model.heads = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    model.teacher = Teacher(model.backbone)
    assert list(_units(model)) == [model.backbone, *model.heads, model.teacher.model]


def test_large_blocks_are_sharded_innermost_first():
    inner = nn.Sequential(nn.Linear(1000, 1000), nn.ReLU())
    unit = nn.Sequential(nn.Linear(3, 3), inner)
    assert list(_blocks(unit)) == [inner[0], inner]


def test_parameter_outside_a_module_raises():
    model = nn.Module()
    model.temperature = nn.Parameter(torch.ones(()))
    with pytest.raises(ConfigError, match="temperature belongs to no module of Module"):
        shard(model, torch.device("cpu"))


@pytest.mark.parametrize(("key", "value"), [("compile", True), ("precision", "fp16")])
def test_invalid_fsdp_options_raise_before_data_is_opened(make_config, tiny_model, key, value):
    config = make_config(hardware__strategy="fsdp", **{f"hardware__{key}": value})
    with pytest.raises(ConfigError, match=rf"hardware.strategy='fsdp': .*expected hardware.{key}"):
        tiny_model(config).fit()
    assert config.data.opened == 0
