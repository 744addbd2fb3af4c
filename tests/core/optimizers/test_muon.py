"""Muon against torch's, AdamW's and the iteration written out; and which parameters it moves."""

import copy

import pytest
import torch
from torch import nn

from ssl_core import OptimConfig
from ssl_core.backbones import build_backbone
from ssl_core.modules.heads import mlp
from ssl_core.optimizers import Muon, build_optimizer
from ssl_core.optimizers.muon import newton_schulz


class Network(nn.Module):
    """A stem, convolutions, layers of several shapes, a vocabulary and a head."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 3)
        self.convolution = nn.Conv2d(8, 6, 3)
        self.depthwise = nn.Conv2d(6, 6, 3, groups=6)
        self.norm = nn.BatchNorm2d(6)
        self.words = nn.Embedding(5, 4)
        self.position = nn.Parameter(torch.zeros(1, 5, 4))
        self.layers = nn.Sequential(*(nn.Linear(*sizes) for sizes in ((12, 12), (12, 12), (12, 30), (30, 7))))
        self.head = nn.Linear(7, 3)


HIDDEN = {"convolution.weight", *(f"layers.{layer}.weight" for layer in range(4))}


def gradients(module, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        gradient = torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter.dtype)
        parameter.grad = torch.empty_like(parameter).copy_(gradient)


def moved_by_muon(module, optimizer):
    names = {parameter: name for name, parameter in module.named_parameters()}
    return {names[p] for group in optimizer.param_groups if group["use_muon"] for p in group["params"]}


def test_muon_updates_hidden_matrices_only():
    module = Network()
    optimizer = build_optimizer(module, OptimConfig(optimizer="Muon", lr=0.1, weight_decay=0.1))
    assert moved_by_muon(module, optimizer) == HIDDEN
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(module.parameters()))
    assert {group["weight_decay"] for group in optimizer.param_groups if group["use_muon"]} == {0.1}


def test_stem_and_end_of_projector_use_adamw():
    method = nn.Module()
    method.backbone = build_backbone("resnet18", (3, 32, 32))
    method.projector = mlp([512, 64, 16])
    muons = moved_by_muon(method, build_optimizer(method, OptimConfig(optimizer="Muon", lr=0.1, layer_decay=0.5)))
    matrices = [name for name, parameter in method.named_parameters() if parameter.ndim > 1]
    assert muons == set(matrices[1:-1])
    assert matrices[0] == "backbone.conv1.weight"


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
def test_matrices_equal_torch_muon(monkeypatch):
    """Oracle: ``torch.optim.Muon(adjust_lr_fn="match_rms_adamw")``; both iterate in bfloat16, so to bfloat16's precision."""
    monkeypatch.setattr("ssl_core.optimizers.muon.has_bf16", lambda device: True)
    ours = nn.ParameterList(
        torch.randn(shape, generator=torch.Generator().manual_seed(1)) for shape in ((20, 30), (40, 8))
    )
    theirs = copy.deepcopy(ours)
    options = {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}
    optimizer = Muon(ours.parameters(), **options)
    peer = torch.optim.Muon(theirs.parameters(), adjust_lr_fn="match_rms_adamw", **options)
    for seed in range(4):
        before = [parameter.detach().clone() for parameter in ours]
        gradients(ours, seed)
        gradients(theirs, seed)
        optimizer.step()
        peer.step()
    for mine, other, was in zip(ours, theirs, before):
        assert (mine - other).norm() < 0.02 * (mine - was).norm()


@pytest.mark.parametrize(("bf16", "low", "high"), [(True, 1e-3, 3e-2), (False, 1e-9, 1e-5)])
def test_iteration_is_float32_without_bf16_hardware(monkeypatch, bf16, low, high):
    """Oracle: the iteration in float64."""
    monkeypatch.setattr("ssl_core.optimizers.muon.has_bf16", lambda device: bf16)
    matrices = torch.randn(2, 20, 30, generator=torch.Generator().manual_seed(1))
    exact = newton_schulz(matrices.double())
    error = (newton_schulz(matrices).double() - exact).norm() / exact.norm()
    assert low < error < high


def test_other_parameters_equal_torch_adamw():
    module, peer = Network(), Network()
    optimizer = build_optimizer(module, OptimConfig(optimizer="Muon", lr=0.1, weight_decay=0.3))
    rest = {name: parameter for name, parameter in peer.named_parameters() if name not in HIDDEN}
    groups = [
        {"params": [p for p in rest.values() if p.ndim > 1], "weight_decay": 0.3},
        {"params": [p for p in rest.values() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, lr=0.1)
    for seed in range(3):
        gradients(module, seed)
        gradients(peer, seed)
        optimizer.step()
        adamw.step()
    parameters = dict(module.named_parameters())
    assert all(torch.equal(parameters[name], expected) for name, expected in rest.items())


def test_muon_step_equals_the_formula():
    """Oracle: the quintic iteration on a single matrix in float64, a convolution flattened, Liu's factor."""
    module = Network().double()
    parameters = dict(module.named_parameters())
    weights = {name: parameters[name].detach().clone() for name in HIDDEN}
    momenta = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    optimizer = build_optimizer(module, OptimConfig(optimizer="Muon", lr=0.02, weight_decay=0.1, momentum=0.9))
    for seed in range(3):
        gradients(module, seed)
        for name, weight in weights.items():
            momenta[name] = 0.9 * momenta[name] + 0.1 * parameters[name].grad
            x = (0.9 * momenta[name] + 0.1 * parameters[name].grad).reshape(len(weight), -1)
            x = x / x.square().sum().sqrt()
            for _ in range(5):
                x = 3.4445 * x + (-4.7750 * x @ x.T + 2.0315 * x @ x.T @ x @ x.T) @ x
            weight *= 1 - 0.02 * 0.1
            weight -= 0.02 * 0.2 * max(x.shape) ** 0.5 * x.reshape(weight.shape)
        optimizer.step()
        for name, weight in weights.items():
            torch.testing.assert_close(parameters[name].detach(), weight, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("shape", "dtype"), [((2, 30, 50), torch.float32), ((3, 50, 20), torch.float64)])
def test_newton_schulz_singular_values_are_near_one(shape, dtype):
    """Oracle: the singular value decomposition."""
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    found = newton_schulz(matrices)
    assert found.dtype == dtype
    left, before, right = torch.linalg.svd(matrices, full_matrices=False)
    along = (left.mT @ found @ right.mT).diagonal(dim1=-2, dim2=-1)  # in the singular vectors of what was given
    assert before.max() / before.min() > 3
    assert along.min() > 0.6
    assert along.max() < 1.3


def test_muon_resumes_bit_identically_in_channels_last(tmp_path):
    def build():
        module = Network().to(memory_format=torch.channels_last)
        return module, build_optimizer(module, OptimConfig(optimizer="Muon", lr=0.05, weight_decay=0.1))

    module, optimizer = build()
    for seed in range(2):
        gradients(module, seed)
        optimizer.step()
    buffer = optimizer.state[module.convolution.weight]["momentum_buffer"]
    assert buffer.is_contiguous(memory_format=torch.channels_last)
    torch.save([module.state_dict(), optimizer.state_dict()], tmp_path / "state.pt")
    resumed, again = build()
    weights, state = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed.load_state_dict(weights)
    again.load_state_dict(state)
    for seed in (2, 3):
        for one, other in ((module, optimizer), (resumed, again)):
            gradients(one, seed)
            other.step()
    assert all(torch.equal(one, other) for one, other in zip(module.parameters(), resumed.parameters()))


def test_muon_with_plain_parameters_missing_gradient_and_closure():
    matrix, vector, idle = (nn.Parameter(torch.ones(shape)) for shape in ((3, 4), (3,), (2, 2)))
    optimizer = Muon([matrix, vector, idle], lr=0.1)

    def closure():
        loss = matrix.sum() + vector.sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 15
    assert torch.equal(idle, torch.ones(2, 2))
    assert vector[0].item() == pytest.approx(0.9)
    assert matrix.max() < 1


def test_muon_rejects_invalid_options():
    parameter = nn.Parameter(torch.ones(3))
    with pytest.raises(ValueError, match="Muon: lr=-1"):
        Muon([parameter], lr=-1)
    with pytest.raises(ValueError, match=r"Muon: momentum=1\.0: expected less than 1"):
        Muon([parameter], lr=1, momentum=1.0)
    with pytest.raises(ValueError, match=r"Muon: a parameter of shape \(3,\) is not a matrix"):
        Muon([{"params": [parameter], "use_muon": True}], lr=1)
