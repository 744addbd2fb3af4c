"""Optimizers by name, which parameters they decay, and LARS against its formula."""

import copy
import inspect
import warnings

import pytest
import torch
from torch import nn

from ssl_core.optimizers import LARS, build_optimizer, optimizer_names, parameter_groups


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).double()


def gradients(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter.dtype)


# ------------------------------------------------------------------------------------------------------------ names


def test_names_are_all_of_torch_optim_and_our_own_but_those_that_a_plain_step_cannot_drive():
    theirs = {
        name
        for name, value in vars(torch.optim).items()
        if inspect.isclass(value) and issubclass(value, torch.optim.Optimizer)
    }
    assert set(optimizer_names()) == (theirs | {"LAMB", "LARS", "Muon"}) - {"Optimizer", "LBFGS", "SparseAdam"}
    assert {"SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "LARS"} <= set(optimizer_names())


@pytest.mark.parametrize("name", optimizer_names())
def test_every_name_trains_and_resumes_to_the_bit(name, tmp_path):
    def build(module: nn.Module) -> torch.optim.Optimizer:
        decay = 0.0 if name == "Rprop" else 1e-2
        return build_optimizer(module, name, lr=0.01, weight_decay=decay, momentum=0.8)

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


@pytest.mark.parametrize("name", optimizer_names())
def test_hyperparameters_are_plain_and_the_initial_rate_is_kept(name):
    optimizer = build_optimizer(network(), name, lr=1, weight_decay=0, momentum=0)
    for group in optimizer.param_groups:
        assert type(group["lr"]) is float
        assert group["initial_lr"] == 1.0
        values = [each for value in group.values() for each in (value if isinstance(value, tuple) else [value])]
        assert not any(isinstance(value, torch.Tensor) for value in values if not isinstance(value, list))


def test_sgd_and_adamw_equal_torchs_own_on_the_same_groups():
    for name, options in (("SGD", {"momentum": 0.8}), ("AdamW", {})):
        ours, theirs = network(), network()
        optimizer = build_optimizer(ours, name, lr=0.1, weight_decay=0.3, momentum=0.8)
        plain = getattr(torch.optim, name)(
            [
                {
                    "params": [p for n, p in theirs.named_parameters() if n in ("0.weight", "4.weight")],
                    "weight_decay": 0.3,
                },
                {
                    "params": [p for n, p in theirs.named_parameters() if n not in ("0.weight", "4.weight")],
                    "weight_decay": 0.0,
                },
            ],
            lr=0.1,
            **options,
        )
        for seed in range(3):
            gradients(ours, seed)
            gradients(theirs, seed)
            optimizer.step()
            plain.step()
        assert all(torch.equal(one, other) for one, other in zip(ours.parameters(), theirs.parameters()))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Addam", r"optim\.optimizer='Addam': expected one of .*'SGD'; did you mean 'Adam'\?"),
        ("sgd", r"did you mean 'SGD'\?"),
        ("lars", r"did you mean 'LARS'\?"),
        ("Optimizer", r"optim\.optimizer='Optimizer': expected one of"),
        ("LBFGS", r"optim\.optimizer='LBFGS': it calls the loss several times.*choose one of"),
        ("SparseAdam", "sparse gradients"),
        ("muon", r"did you mean 'Muon'\?"),
    ],
)
def test_unknown_and_refused_names_say_why(name, message):
    with pytest.raises(ValueError, match=message):
        build_optimizer(network(), name, lr=0.1)


def test_nothing_is_forgotten_in_silence():
    with pytest.raises(ValueError, match=r"optim\.weight_decay=0\.1: Rprop has no weight decay"):
        build_optimizer(network(), "Rprop", lr=0.1, weight_decay=0.1)
    with pytest.raises(ValueError, match=r"optim\.optimizer='SGD' refuses optim\.lr=-1"):
        build_optimizer(network(), "SGD", lr=-1)
    with pytest.raises(ValueError, match=r"optim\.optimizer='LARS' refuses .*momentum=1\.5"):
        build_optimizer(network(), "LARS", lr=1, momentum=1.5)
    with pytest.raises(ValueError, match="nothing to train"):
        build_optimizer(network().requires_grad_(False), "SGD", lr=0.1)


# ----------------------------------------------------------------------------------------------------------- groups


def test_biases_and_normalisation_parameters_are_not_decayed():
    module = network()
    decayed, spared = parameter_groups(module, 0.1)
    assert decayed["weight_decay"] == 0.1
    assert spared["weight_decay"] == 0.0
    assert [parameter.shape for parameter in decayed["params"]] == [(4, 3, 3, 3), (5, 144)]
    assert [parameter.shape for parameter in spared["params"]] == [(4,), (4,), (4,), (5,)]


def test_frozen_parameters_are_left_out_and_shared_ones_are_there_once():
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    module[1].weight = module[0].weight
    module[2].requires_grad_(False)
    assert [len(group["params"]) for group in parameter_groups(module, 0.1)] == [1, 2]
    assert len(parameter_groups(nn.BatchNorm1d(3), 0.1)) == 1  # no empty group


def test_given_groups_are_taken_as_they_are():
    module = network()
    groups = [{"params": module[0].parameters(), "lr": 0.5}, {"params": module[4].parameters(), "weight_decay": 0.0}]
    first, second = build_optimizer(groups, "LARS", lr=0.1, weight_decay=0.2).param_groups
    assert (first["lr"], first["initial_lr"], first["weight_decay"]) == (0.5, 0.5, 0.2)
    assert (second["lr"], second["initial_lr"], second["weight_decay"]) == (0.1, 0.1, 0.0)


# ------------------------------------------------------------------------------------------------------------- LARS


def lars_written_out(weights, velocities, grads, lr, momentum, decay, trust):
    """The paper's equations for one step, parameter by parameter."""
    for weight, velocity, grad in zip(weights, velocities, grads):
        if weight.ndim > 1:
            update = grad + decay * weight
            if weight.norm() > 0 and grad.norm() > 0:
                update = update * trust * weight.norm() / (grad.norm() + decay * weight.norm())
        else:
            update = grad
        velocity.copy_(momentum * velocity + update)
        weight.sub_(lr * velocity)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_lars_equals_the_formula(momentum, decay):
    module = network()
    with torch.no_grad():
        module[4].weight[:] = 0  # a zero-initialised layer must still start to move
    weights = [parameter.detach().clone() for parameter in module.parameters()]
    velocities = [torch.zeros_like(weight) for weight in weights]
    # One group and a decay for all: LARS itself must spare the parameters of one dimension.
    optimizer = LARS(module.parameters(), lr=0.7, momentum=momentum, weight_decay=decay, trust_coefficient=0.02)
    for seed in range(4):
        gradients(module, seed)
        grads = [parameter.grad.clone() for parameter in module.parameters()]
        optimizer.param_groups[0]["lr"] = 0.7 / (seed + 1)
        optimizer.step()
        lars_written_out(weights, velocities, grads, 0.7 / (seed + 1), momentum, decay, 0.02)
        for mine, weight, grad in zip(module.parameters(), weights, grads):
            torch.testing.assert_close(mine.detach(), weight, rtol=1e-12, atol=1e-14)
            assert torch.equal(mine.grad, grad)  # gradients are read only
    assert module[4].weight.abs().min() > 0


def test_lars_agrees_with_lightly():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lightly = pytest.importorskip("lightly.utils.lars")
    ours, theirs = network(), network()
    optimizer = build_optimizer(ours, "LARS", lr=1.5, weight_decay=1e-2, momentum=0.9)
    # lightly leaves parameters without weight decay out of the adaptation, and adds an epsilon to the norms
    peer = lightly.LARS(parameter_groups(theirs, 1e-2), lr=1.5, momentum=0.9, eps=0.0)
    for seed in range(5):
        gradients(ours, seed)
        gradients(theirs, seed)
        optimizer.step()
        peer.step()
    for mine, other in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-14)


def test_lars_moves_each_layer_by_the_same_share_whatever_its_gradients_scale():
    small, large = network(), network()
    for module, scale in ((small, 1e-4), (large, 1e4)):
        gradients(module, 0)
        module[0].weight.grad *= scale
        LARS(module.parameters(), lr=1.0, momentum=0.0).step()
    torch.testing.assert_close(small[0].weight, large[0].weight, rtol=1e-12, atol=0)


def test_lars_takes_mixed_dtypes_and_missing_gradients_and_a_closure():
    wide, narrow, idle = (
        nn.Parameter(torch.ones(3, 3, dtype=dtype)) for dtype in (torch.float64, torch.bfloat16, torch.float32)
    )
    optimizer = LARS([wide, narrow, idle], lr=1.0, momentum=0.0, trust_coefficient=0.5)

    def closure() -> torch.Tensor:
        loss = (wide.sum() + narrow.sum().double()) * 7
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 126
    for parameter in (wide, narrow):  # lr * trust * |w| / |g| * g = 0.5 * (3 / 21) * 7
        torch.testing.assert_close(parameter.detach().double(), torch.full((3, 3), 0.5, dtype=torch.float64))
    assert torch.equal(idle, torch.ones(3, 3))
    assert len(optimizer.state) == 0


def test_lars_keeps_channels_last():
    module = network().to(memory_format=torch.channels_last)
    optimizer = LARS(module.parameters(), lr=0.1)
    plain = network()
    plain_optimizer = LARS(plain.parameters(), lr=0.1)
    for seed in range(2):
        gradients(module, seed)
        gradients(plain, seed)
        module[0].weight.grad = module[0].weight.grad.to(memory_format=torch.channels_last)
        optimizer.step()
        plain_optimizer.step()
    velocity = optimizer.state[module[0].weight]["momentum_buffer"]
    assert velocity.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(module[0].weight, plain[0].weight, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("option", ["lr", "momentum", "weight_decay", "trust_coefficient"])
def test_lars_refuses_negative_options(option):
    with pytest.raises(ValueError, match=f"LARS: {option}=-1"):
        LARS([nn.Parameter(torch.ones(1))], **{"lr": 0.1, option: -1})
