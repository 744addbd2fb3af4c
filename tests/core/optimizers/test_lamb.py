"""LAMB against its formula and against timm's."""

import pytest
import torch
from torch import nn

from ssl_core.optimizers import LAMB


def network(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 5)).to(dtype)


def gradients(module, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter.dtype)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_lamb_equals_the_formula(decay):
    """Oracle: algorithm 2 of the paper in float64, parameter by parameter; a layer of zeros still starts to move."""
    module = network()
    with torch.no_grad():
        module[3].weight[:] = 0
    weights = [parameter.detach().clone() for parameter in module.parameters()]
    firsts, seconds = ([torch.zeros_like(weight) for weight in weights] for _ in range(2))
    optimizer = LAMB(module.parameters(), lr=0.3, betas=(0.8, 0.95), eps=1e-4, weight_decay=decay)
    for step in range(1, 5):
        gradients(module, step)
        grads = [parameter.grad.clone() for parameter in module.parameters()]
        optimizer.param_groups[0]["lr"] = 0.3 / step
        optimizer.step()
        for weight, first, second, grad in zip(weights, firsts, seconds, grads):
            first.copy_(0.8 * first + 0.2 * grad)
            second.copy_(0.95 * second + 0.05 * grad**2)
            update = (first / (1 - 0.8**step)) / ((second / (1 - 0.95**step)).sqrt() + 1e-4)
            if weight.ndim > 1:
                update = update + decay * weight
                update *= weight.norm() / update.norm() if weight.norm() > 0 else 1.0
            weight.sub_(0.3 / step * update)
        for mine, weight, grad in zip(module.parameters(), weights, grads):
            torch.testing.assert_close(mine.detach(), weight, rtol=1e-12, atol=1e-14)
            assert torch.equal(mine.grad, grad)  # gradients are read only
    assert module[3].weight.abs().min() > 0


def test_lamb_agrees_with_timm():
    """timm leaves what is not decayed unadapted, and clips by itself unless it is told not to."""
    lamb = pytest.importorskip("timm.optim").Lamb
    ours, theirs = network(torch.float32), network(torch.float32)
    optimizer = LAMB(ours.parameters(), lr=0.05, weight_decay=0.02)
    groups = [{"params": [p for p in theirs.parameters() if (p.ndim > 1) is wide]} for wide in (True, False)]
    groups[0]["weight_decay"], groups[1]["weight_decay"] = 0.02, 0.0
    peer = lamb(groups, lr=0.05, max_grad_norm=None)
    for seed in range(5):
        gradients(ours, seed)
        gradients(theirs, seed)
        optimizer.step()
        peer.step()
    for mine, other in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


def test_lamb_resumes_bit_identically_in_channels_last(tmp_path):
    def build():
        module = network(torch.float32).to(memory_format=torch.channels_last)
        return module, LAMB(module.parameters(), lr=0.1, weight_decay=0.1)

    def train(module, optimizer, seeds):
        for seed in seeds:
            gradients(module, seed)
            module[0].weight.grad = module[0].weight.grad.to(memory_format=torch.channels_last)
            optimizer.step()

    module, optimizer = build()
    train(module, optimizer, range(2))
    assert optimizer.state[module[0].weight]["exp_avg"].is_contiguous(memory_format=torch.channels_last)
    torch.save([module.state_dict(), optimizer.state_dict()], tmp_path / "state.pt")
    resumed, again = build()
    weights, state = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed.load_state_dict(weights)
    again.load_state_dict(state)
    train(module, optimizer, (2, 3))
    train(resumed, again, (2, 3))
    assert all(torch.equal(one, other) for one, other in zip(module.parameters(), resumed.parameters()))


def test_lamb_counts_steps_for_each_parameter():
    late, early = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    optimizer = LAMB([late, early], lr=0.1)
    for step in range(3):
        early.grad = torch.ones(2, 2)
        late.grad = torch.ones(2, 2) if step == 2 else None
        optimizer.step()
    assert [optimizer.state[each]["step"].item() for each in (late, early)] == [1, 3]


@pytest.mark.parametrize("options", [{"lr": -1}, {"lr": 1, "eps": -1}, {"lr": 1, "weight_decay": float("nan")}])
def test_lamb_rejects_negative_options(options):
    with pytest.raises(ValueError, match=r"LAMB: \w+=.*: expected at least 0"):
        LAMB([nn.Parameter(torch.ones(1))], **options)


def test_lamb_rejects_beta_of_one():
    with pytest.raises(ValueError, match=r"LAMB: betas=\(0.9, 1.0\)"):
        LAMB([nn.Parameter(torch.ones(1))], lr=1, betas=(0.9, 1.0))
