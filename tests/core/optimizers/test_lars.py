"""LARS against its formula, lightly's and LARC's."""

import warnings

import pytest
import torch
from torch import nn

from ssl_core import OptimConfig
from ssl_core.optimizers import LARS, build_optimizer, split_groups


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).double()


def gradients(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter.dtype)


def lars_formula(weights, velocities, grads, lr, momentum, decay, trust, clip, nesterov):
    """One step of the paper, parameter by parameter; LARC's minimum and Nesterov's step as in ``torch.optim.SGD``."""
    for weight, velocity, grad in zip(weights, velocities, grads):
        if weight.ndim > 1:
            update = grad + decay * weight
            if weight.norm() > 0 and grad.norm() > 0:
                rate = trust * weight.norm() / (grad.norm() + decay * weight.norm())
                update = update * (min(rate / lr, 1) if clip else rate)
        else:
            update = grad
        velocity.copy_(momentum * velocity + update)
        weight.sub_(lr * (update + momentum * velocity if nesterov else velocity))


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
@pytest.mark.parametrize(
    ("decay", "clip", "trust"), [(0.0, False, 0.02), (0.1, False, 0.02), (0.1, True, 0.02), (0.1, True, 20.0)]
)
def test_lars_equals_the_formula(momentum, nesterov, decay, clip, trust):
    module = network()
    with torch.no_grad():
        module[4].weight[:] = 0  # a zero-initialised layer must still start to move
    weights = [parameter.detach().clone() for parameter in module.parameters()]
    velocities = [torch.zeros_like(weight) for weight in weights]
    # One group with weight decay: LARS itself excludes the parameters of one dimension
    options = {
        "momentum": momentum,
        "weight_decay": decay,
        "trust_coefficient": trust,
        "clip": clip,
        "nesterov": nesterov,
    }
    optimizer = LARS(module.parameters(), lr=0.7, **options)
    for seed in range(4):
        gradients(module, seed)
        grads = [parameter.grad.clone() for parameter in module.parameters()]
        optimizer.param_groups[0]["lr"] = 0.7 / (seed + 1)
        optimizer.step()
        lars_formula(weights, velocities, grads, 0.7 / (seed + 1), momentum, decay, trust, clip, nesterov)
        for mine, weight, grad in zip(module.parameters(), weights, grads):
            torch.testing.assert_close(mine.detach(), weight, rtol=1e-12, atol=1e-14)
            assert torch.equal(mine.grad, grad)  # gradients are read only
    assert module[4].weight.abs().min() > 0


@pytest.mark.parametrize("nesterov", [False, True])
def test_lars_agrees_with_lightly(nesterov):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lightly = pytest.importorskip("lightly.utils.lars")
    ours, theirs = network(), network()
    options = {"lr": 1.5, "momentum": 0.9, "nesterov": nesterov}
    optimizer = build_optimizer(ours, OptimConfig(optimizer="LARS", weight_decay=1e-2, **options))
    # lightly does not scale parameters without weight decay, and adds an epsilon to the norms
    peer = lightly.LARS(split_groups(theirs, lr=1.5, weight_decay=1e-2), eps=0.0, **options)
    for seed in range(5):
        gradients(ours, seed)
        gradients(theirs, seed)
        optimizer.step()
        peer.step()
    for mine, other in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-14)


def test_lars_step_does_not_depend_on_gradient_scale():
    small, large = network(), network()
    for module, scale in ((small, 1e-4), (large, 1e4)):
        gradients(module, 0)
        module[0].weight.grad *= scale
        LARS(module.parameters(), lr=1.0, momentum=0.0).step()
    torch.testing.assert_close(small[0].weight, large[0].weight, rtol=1e-12, atol=0)


def test_lars_with_mixed_dtypes_missing_gradient_and_closure():
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


@pytest.mark.parametrize(
    "options",
    [
        {"lr": -1},
        {"momentum": -1},
        {"weight_decay": -1},
        {"trust_coefficient": -1},
        {"momentum": 1.0},
        {"nesterov": True},
    ],
)
def test_lars_rejects_invalid_options(options):
    option, value = next(iter(options.items()))
    with pytest.raises(ValueError, match=f"LARS: {option}={value}"):
        LARS([nn.Parameter(torch.ones(1))], **{"lr": 0.1, "momentum": 0.0, **options})
