"""Heads: the layers that the papers have. Oracles: pip's lightly 1.6, and torch's weight normalisation."""

import pytest
import torch
from lightly.models.modules import DINOProjectionHead
from torch import nn

from ssl_core.modules.heads import Prototypes, dino_head, mlp


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
def test_invalid_heads_raise(arguments, message):
    with pytest.raises(ValueError, match=message):
        mlp(**arguments)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_dino_head_equals_that_of_lightly():
    """The values, those of the gradients, and the standard deviation of the weights at the start."""
    torch.manual_seed(0)
    ours, theirs = dino_head([24, 64, 64, 16], 40), DINOProjectionHead(24, 64, 16, 40)
    with torch.no_grad():
        for mine, other in zip((ours[0][0], ours[0][2], ours[0][4]), theirs.layers[::2]):
            assert mine.weight.std().item() == pytest.approx(other.weight.std().item(), rel=0.1)
            assert not mine.bias.any()
            other.weight.copy_(mine.weight)
        theirs.last_layer.weight_v.copy_(ours[1].weight)
    assert ours[1].weight.std().item() == pytest.approx((3 * 16) ** -0.5, rel=0.1)  # that of nn.Linear
    x = torch.randn(8, 24)
    torch.testing.assert_close(ours(x), theirs(x))
    for head in (ours, theirs):
        head(x).square().sum().backward()
    torch.testing.assert_close(ours[1].weight.grad, theirs.last_layer.weight_v.grad)
    torch.testing.assert_close(ours[0][0].weight.grad, theirs.layers[0].weight.grad)
    assert [name for name, _ in ours[1].named_parameters()] == ["weight"]  # the norm is not learned


def test_prototypes_with_a_learned_norm_equal_torchs_weight_norm():
    torch.manual_seed(0)
    ours = Prototypes(6, 5, learn_norm=True)
    theirs = nn.utils.parametrizations.weight_norm(nn.Linear(6, 5, bias=False))
    with torch.no_grad():
        ours.norm.copy_(torch.rand(5, 1))
        theirs.parametrizations.weight.original0.copy_(ours.norm)
        theirs.parametrizations.weight.original1.copy_(ours.weight)
    x = nn.functional.normalize(torch.randn(3, 4, 6), dim=2)
    torch.testing.assert_close(ours(2 * x), theirs(x))
    ours(x).sum().backward()
    theirs(x).sum().backward()
    torch.testing.assert_close(ours.norm.grad, theirs.parametrizations.weight.original0.grad)
