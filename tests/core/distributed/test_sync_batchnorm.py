"""Synchronized batch normalization in one process. On several ranks: ``test_distributed_training.py``."""

import copy

import pytest
import torch
from torch import nn

from ssl_core.distributed.sync_batchnorm import synchronise_batchnorm
from ssl_core.errors import ConfigError

CPU = torch.device("cpu")


def test_modules_keep_their_identity_names_and_hooks():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    before, layer, calls = model.state_dict(keep_vars=True), model[1], []
    layer.register_forward_hook(lambda *_: calls.append(1))
    synchronise_batchnorm(model, CPU)
    after = model.state_dict(keep_vars=True)
    assert model[1] is layer
    assert list(before) == list(after)
    assert all(before[name] is after[name] for name in before)
    model(torch.randn(2, 3, 4, 4))
    assert calls == [1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cpu_sync_batchnorm_equals_torch(dtype):
    """Oracle: torch's BatchNorm2d in training, then in evaluation, in the input's dtype."""
    theirs = nn.BatchNorm2d(4)
    ours = nn.Sequential(copy.deepcopy(theirs))
    synchronise_batchnorm(ours, CPU)
    x = (3 + torch.randn(8, 4, 5, 5)).to(dtype)
    for training in (True, False):
        ours.train(training), theirs.train(training)
        output, expected = ours(x), theirs(x)
        assert output.dtype is expected.dtype is dtype
        torch.testing.assert_close(output, expected)
    torch.testing.assert_close(ours[0].state_dict(), theirs.state_dict())


def test_activation_of_timm_is_kept():
    """Oracle: timm's BatchNormAct2d itself."""
    layers = pytest.importorskip("timm.layers")
    theirs = layers.BatchNormAct2d(4)
    ours = nn.Sequential(copy.deepcopy(theirs))
    synchronise_batchnorm(ours, CPU)
    x = torch.randn(8, 4, 5, 5)
    assert type(ours[0]) is not type(theirs)
    torch.testing.assert_close(ours(x), theirs(x.clone()))
    torch.testing.assert_close(ours[0].running_var, theirs.running_var)


def test_gpu_uses_torch_sync_batchnorm():
    model = nn.Sequential(nn.BatchNorm1d(3))
    synchronise_batchnorm(model, torch.device("cuda"))
    assert type(model[0]) is nn.SyncBatchNorm
    torch.testing.assert_close(model.eval()(torch.ones(2, 3)), torch.ones(2, 3))


def test_custom_forward_raises():
    class Ghost(nn.BatchNorm2d):
        def forward(self, input):
            return super().forward(input[:1])

    with pytest.raises(ConfigError, match="1 is a Ghost with its own forward pass") as raised:
        synchronise_batchnorm(nn.Sequential(nn.ReLU(), Ghost(3)), CPU)
    assert raised.value.key == "hardware.sync_batchnorm"
