"""Build optimizers by name: names, options, resume."""

import copy
import inspect

import pytest
import torch
from torch import nn

from ssl_core import ConfigError, OptimConfig
from ssl_core.config.schema import OPTIMIZER_OPTIONS, OPTIMIZERS
from ssl_core.optimizers import LAMB, LARS, Muon, build_optimizer


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).double()


def gradients(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter.dtype)


def test_names_are_those_of_torch_optim_and_ours():
    theirs = {
        name
        for name, value in vars(torch.optim).items()
        if inspect.isclass(value) and issubclass(value, torch.optim.Optimizer)
    }
    assert set(OPTIMIZERS) == (theirs | {"LAMB", "LARS", "Muon"}) - {"Optimizer", "LBFGS", "SparseAdam"}


@pytest.mark.parametrize("option", OPTIMIZER_OPTIONS)
def test_option_table_equals_the_signatures(option):
    kinds = {name: getattr(torch.optim, name, None) for name in OPTIMIZERS} | {"LAMB": LAMB, "LARS": LARS, "Muon": Muon}
    having = {name for name, kind in kinds.items() if option in inspect.signature(kind).parameters}
    assert set(OPTIMIZER_OPTIONS[option]) == having


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_resumes_bit_identically(name, tmp_path):
    def build(module: nn.Module) -> torch.optim.Optimizer:
        decay = 0.0 if name == "Rprop" else 1e-2
        return build_optimizer(module, OptimConfig(optimizer=name, lr=0.01, weight_decay=decay, momentum=0.8))

    module = network().float()  # as runs are; torch's own load_state_dict turns NAdam's float32 state into float64
    before = copy.deepcopy(module)
    optimizer = build(module)
    for seed in range(2):
        gradients(module, seed)
        optimizer.step()
    assert all(not torch.equal(mine, was) for mine, was in zip(module.parameters(), before.parameters()))

    torch.save({"module": module.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed = network().float()
    again = build(resumed)
    resumed.load_state_dict(state["module"])
    again.load_state_dict(state["optimizer"])
    for seed in (2, 3):
        for one, other in ((module, optimizer), (resumed, again)):
            gradients(one, seed)
            other.step()
    assert all(torch.equal(one, other) for one, other in zip(module.parameters(), resumed.parameters()))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_groups_hold_plain_numbers_and_the_initial_rate(name):
    optimizer = build_optimizer(network(), OptimConfig(optimizer=name, lr=1, weight_decay=0, momentum=0))
    for group in optimizer.param_groups:
        assert type(group["lr"]) is float
        assert group["initial_lr"] == 1.0
        values = [each for value in group.values() for each in (value if isinstance(value, tuple) else [value])]
        assert not any(isinstance(value, torch.Tensor) for value in values if not isinstance(value, list))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"momentum": 0.8}),
        ("SGD", {"momentum": 0.8, "nesterov": True}),
        ("AdamW", {}),
        ("AdamW", {"betas": [0.8, 0.95]}),
        ("NAdam", {"betas": [0.8, 0.95]}),
    ],
)
def test_optimizer_equals_torch_on_the_same_groups(name, options):
    """Oracle: the class of ``torch.optim`` with groups written out."""
    ours, theirs = network(), network()
    optimizer = build_optimizer(ours, OptimConfig(optimizer=name, lr=0.1, weight_decay=0.3, **options))
    weights = [theirs[0].weight, theirs[4].weight]
    others = [theirs[0].bias, theirs[1].weight, theirs[1].bias, theirs[4].bias]
    groups = [{"params": weights, "weight_decay": 0.3}, {"params": others, "weight_decay": 0.0}]
    plain = getattr(torch.optim, name)(groups, lr=0.1, **options)
    for seed in range(3):
        gradients(ours, seed)
        gradients(theirs, seed)
        optimizer.step()
        plain.step()
    assert all(torch.equal(one, other) for one, other in zip(ours.parameters(), theirs.parameters()))


@pytest.mark.parametrize("name", ["Addam", "sgd", "Optimizer", "LBFGS", "SparseAdam", "muon"])
def test_unknown_name_raises(name):
    with pytest.raises(ConfigError, match=f"optim.optimizer={name!r}: expected one of .*'SGD'"):
        build_optimizer(network(), OptimConfig(optimizer=name))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "Rprop"}, r"optim\.weight_decay=0\.0001: Rprop has no weight decay; expected 0"),
        ({"lr": -1.0}, r"optim\.lr=-1\.0: expected a number, at least 0"),
        ({"optimizer": "AdamW", "nesterov": True}, r"optim\.nesterov=true: AdamW .* one of 'LARS', 'SGD'"),
        ({"nesterov": True, "momentum": 0.0}, r"optim\.nesterov=true: expected optim\.momentum above 0"),
        (
            {"betas": [0.9, 0.95]},
            r"optim\.betas=\[0\.9, 0\.95\]: SGD does not have this option; expected one of 'Adam'",
        ),
        ({"optimizer": "AdamW", "betas": [0.9]}, r"optim\.betas=\[0\.9\]: expected two numbers"),
        ({"optimizer": "AdamW", "betas": [0.9, 1.0]}, r"optim\.betas=\[0\.9, 1\.0\]: expected two numbers"),
        ({"trust_coefficient": 0.02}, r"optim\.trust_coefficient=0\.02: SGD .* one of 'LARS' as optim\.optimizer"),
        ({"optimizer": "LAMB", "clip": True}, r"optim\.clip=true: LAMB does not have this option"),
    ],
)
def test_invalid_option_raises(options, message):
    with pytest.raises(ConfigError, match=message):
        build_optimizer(network(), OptimConfig(**options))


def test_module_without_trainable_parameters_raises():
    with pytest.raises(ConfigError, match="nothing to train"):
        build_optimizer(network().requires_grad_(False), OptimConfig())


def test_options_reach_the_optimizer():
    optim = OptimConfig(optimizer="LARS", momentum=0.8, trust_coefficient=0.02, clip=True, nesterov=True)
    group = build_optimizer(network(), optim).param_groups[0]
    expected = {"momentum": 0.8, "trust_coefficient": 0.02, "clip": True, "nesterov": True}
    assert {key: group[key] for key in expected} == expected
    groups = build_optimizer(network(), OptimConfig(optimizer="Muon", betas=[0.9, 0.95])).param_groups
    assert {group["betas"] for group in groups} == {(0.9, 0.95)}
