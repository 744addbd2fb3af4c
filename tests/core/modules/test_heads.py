"""Projectors: the layers that the papers have."""

import pytest
import torch
from torch import nn

from ssl_core.modules.heads import mlp


def kinds(network: nn.Sequential) -> list[str]:
    return [type(layer).__name__ for layer in network]


def test_simclr_head_is_as_in_the_paper():
    head = mlp([512, 512, 128], last_norm=True)
    assert kinds(head) == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]
    assert [layer.bias is None for layer in head if isinstance(layer, nn.Linear)] == [True, True]


def test_barlow_twins_head_has_its_number_of_parameters():
    with torch.device("meta"):  # no memory for its 150 million weights
        head = mlp([2048, 8192, 8192, 8192], last_bias=False)
    assert kinds(head) == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear"]
    assert sum(parameter.numel() for parameter in head.parameters()) == 2048 * 8192 + 2 * 8192**2 + 4 * 8192


def test_bias_is_there_where_no_normalisation_follows():
    assert [layer.bias is not None for layer in mlp([4, 8, 2]) if isinstance(layer, nn.Linear)] == [False, True]
    assert [layer.bias is not None for layer in mlp([4, 8, 2], norm="none") if isinstance(layer, nn.Linear)] == [
        True
    ] * 2
    both = mlp([4, 8, 2], bias=True, last_norm=True, last_bias=True)
    assert [layer.bias is not None for layer in both if isinstance(layer, nn.Linear)] == [True] * 2


def test_forward_equals_the_formula():
    torch.manual_seed(0)
    head = mlp([5, 7, 3]).double()
    x = torch.randn(11, 5, dtype=torch.float64)
    hidden = x @ head[0].weight.T
    hidden = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(head(x), hidden.relu() @ head[3].weight.T + head[3].bias)


def test_layer_norm_takes_a_batch_of_one():
    assert kinds(mlp([4, 8, 2], norm="layer", last_norm=True)) == ["Linear", "LayerNorm", "ReLU", "Linear", "LayerNorm"]
    assert mlp([4, 8, 2], norm="layer")(torch.randn(1, 4)).shape == (1, 2)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_last_normalisation_without_scale_and_shift(norm):
    """SimSiam and MoCo v3."""
    head = mlp([4, 8, 2], norm=norm, last_norm=True, last_affine=False)
    assert (head[-1].weight, head[-1].bias) == (None, None)
    assert head[1].weight is not None


def test_gelu_replaces_relu():
    assert kinds(mlp([4, 8, 2], norm="none", activation="gelu")) == ["Linear", "GELU", "Linear"]


def test_two_sizes_are_one_linear_layer():
    assert kinds(mlp([4, 2])) == ["Linear"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sizes": [4]}, r"sizes=\[4\]: expected at least two"),
        ({"sizes": [4, 0]}, r"sizes=\[4, 0\]"),
        ({"sizes": [4, 2], "norm": "group"}, "norm='group': expected one of 'batch', 'layer', 'none'"),
        ({"sizes": [4, 2], "activation": "tanh"}, "activation='tanh': expected one of 'relu', 'gelu'"),
        ({"sizes": [4, 2], "norm": "none", "last_norm": True}, "last_norm=True with norm='none'"),
    ],
)
def test_impossible_heads_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        mlp(**arguments)
