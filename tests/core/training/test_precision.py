import torch

from ssl_core.training.precision import Precision

CPU = torch.device("cpu")


def parameter(gradient):
    value = torch.nn.Parameter(torch.zeros(2))
    value.grad = torch.tensor(gradient)
    return value


def test_gradient_norm_is_before_clipping():
    """Oracle: 3-4-5."""
    weight = parameter([3.0, 4.0])
    optimizer = torch.optim.SGD([weight], lr=1.0)
    precision = Precision("fp32", CPU)
    norm = precision.gradient_norm(optimizer)
    assert norm.item() == 5.0
    precision.clip(optimizer, norm, max_norm=None)
    assert torch.equal(weight.grad, torch.tensor([3.0, 4.0]))
    precision.clip(optimizer, norm, max_norm=1.0)
    torch.testing.assert_close(weight.grad, torch.tensor([0.6, 0.8]), rtol=1e-4, atol=1e-4)
    assert precision.step(optimizer)
    assert weight.grad is None
    assert precision.gradient_norm(optimizer) == 0.0  # everything is frozen


def test_fp16_overflow_skips_step_and_lowers_scale():
    weight = parameter([float("inf"), 0.0])
    optimizer = torch.optim.SGD([weight], lr=1.0)
    precision = Precision("fp16", CPU)
    precision._scaler.scale(torch.zeros(1))  # as backward() does
    before = precision._scaler.get_scale()
    precision.gradient_norm(optimizer)
    assert not precision.step(optimizer)
    assert torch.equal(weight.detach(), torch.zeros(2))
    assert precision._scaler.get_scale() < before


def test_scaler_is_saved():
    first, second = Precision("fp16", CPU), Precision("fp16", CPU)
    first._scaler.scale(torch.zeros(1))
    state = first.state_dict()
    state["scale"] = 128.0
    second.load_state_dict(state)
    assert second.state_dict()["scale"] == 128.0
    assert Precision("bf16", CPU).state_dict() == {}


def test_fp64_is_used_everywhere(tiny_model, make_config):
    class Watched(tiny_model):
        def compute_loss(self):
            self.seen = {self.data[0][0].dtype, self.forward(self.data[0][0]).dtype}
            return super().compute_loss()

    model = Watched(make_config(hardware__precision="fp64", optim__epochs=1))
    model.fit()
    assert model.seen == {torch.float64}
    assert {p.dtype for p in [*model.parameters(), *model.probes.classifiers.parameters()]} == {torch.float64}
