"""The teacher: the average that the formula says, and state that is its own."""

import copy
import math

import pytest
import torch
from torch import nn

from ssl_core.modules.ema import Teacher
from ssl_core.modules.transformer.blocks import DropPath
from ssl_core.schedules import cosine_ramp


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))


def train_once(student: nn.Module) -> None:
    """One step of noise on the weights, and one on the running statistics."""
    student.train()
    student(torch.randn(4, 3, 8, 8, dtype=next(student.parameters()).dtype))
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(torch.randn_like(parameter))


def test_update_of_parameters_and_statistics_equals_formula():
    student = network()
    teacher = Teacher(student, momentum=0.9)
    expected = {name: value.clone() for name, value in student.state_dict().items()}
    for step in range(5):
        train_once(student)
        teacher.update(student, momentum=0.5 + step / 10)
        for name, value in student.state_dict().items():
            m = 0.5 + step / 10
            expected[name] = m * expected[name] + (1 - m) * value if value.is_floating_point() else value.clone()
    for name, value in teacher.model.state_dict().items():
        torch.testing.assert_close(value, expected[name])
    assert teacher.model[1].num_batches_tracked.dtype == torch.int64
    assert teacher.model[1].num_batches_tracked.item() == 5


def test_momentum_0_is_the_student_and_1_never_moves():
    student = network()
    teacher = Teacher(student)
    before = copy.deepcopy(teacher.state_dict())
    train_once(student)
    teacher.update(student, momentum=1.0)
    for name, parameter in teacher.named_parameters():
        assert torch.equal(parameter, before[name])
    teacher.update(student, momentum=0.0)
    for (name, value), mine in zip(student.state_dict().items(), teacher.model.state_dict().values()):
        assert torch.equal(mine, value), name


def test_follow_goes_from_the_first_momentum_to_the_last():
    student = network()
    follower, oracle = Teacher(student, momentum=0.5, final_momentum=1.0), Teacher(student)
    for step in range(1, 5):
        train_once(student)
        follower.follow(step, total_steps=4)
        oracle.update(student, cosine_ramp(step, 4, 0.5, 1.0))
    steady = Teacher(student, momentum=0.5)
    train_once(student)
    steady.follow(4, total_steps=4)
    assert torch.equal(follower.model[0].weight, oracle.model[0].weight)
    torch.testing.assert_close(
        steady.model[0].weight, student[0].weight * 0.5 + (steady.model[0].weight - student[0].weight * 0.5)
    )
    assert not torch.equal(steady.model[0].weight, student[0].weight)


def test_no_gradient_reaches_teacher_or_student():
    student = network()
    teacher = Teacher(student)
    output = teacher(torch.randn(2, 3, 8, 8, requires_grad=True))
    assert not output.requires_grad
    assert all(not parameter.requires_grad for parameter in teacher.parameters())
    assert all(parameter.requires_grad for parameter in student.parameters())


def test_student_is_not_a_part_of_the_teacher():
    class Method(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = network()
            self.teacher = Teacher(self.backbone)

    method = Method()
    assert list(method.teacher.state_dict()) == [f"model.{name}" for name in method.backbone.state_dict()]
    assert sum(parameter.requires_grad for parameter in method.parameters()) == len(list(method.backbone.parameters()))
    assert method.teacher.model[0].weight.data_ptr() != method.backbone[0].weight.data_ptr()


def test_a_copy_of_the_whole_method_follows_its_own_student():
    method = nn.ModuleDict({"backbone": network()})
    method["teacher"] = Teacher(method["backbone"], momentum=0.0)
    twin = copy.deepcopy(method)
    train_once(twin["backbone"])
    twin["teacher"].follow(1, total_steps=2)
    assert torch.equal(twin["teacher"].model[0].weight, twin["backbone"][0].weight)
    assert not torch.equal(twin["teacher"].model[0].weight, method["backbone"][0].weight)


def test_state_is_loaded_from_the_checkpoint(tmp_path):
    student = network()
    teacher = Teacher(student, momentum=0.9)
    for _ in range(3):
        train_once(student)
        teacher.update(student)
    torch.save({"student": student.state_dict(), "teacher": teacher.state_dict()}, tmp_path / "state.pt")

    again = network(seed=1)
    restarted = Teacher(again, momentum=0.9)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    again.load_state_dict(state["student"])
    restarted.load_state_dict(state["teacher"])
    for generation in (0, 1):  # as saved, and after one step of each
        for name, value in teacher.state_dict().items():
            assert torch.equal(restarted.state_dict()[name], value), (generation, name)
        with torch.no_grad():
            student[0].weight.add_(1.0)
            again[0].weight.add_(1.0)
        teacher.update(student)
        restarted.update(again)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_small_steps_of_a_narrow_student_are_not_lost(dtype):
    student = nn.Linear(2, 2).to(dtype)
    with torch.no_grad():
        student.weight.fill_(1.0)
    teacher = Teacher(student, momentum=0.9999)
    with torch.no_grad():
        student.weight.fill_(2.0)
    for _ in range(100):
        teacher.update(student)
    torch.testing.assert_close(teacher.model.weight, torch.full((2, 2), 2 - 0.9999**100), atol=1e-5, rtol=0)
    assert teacher(torch.ones(1, 2, dtype=dtype)).dtype == torch.float32


def test_teacher_runs_under_autocast_as_its_student_does():
    student = network()
    teacher = Teacher(student)
    x = torch.randn(4, 3, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(teacher(x), student(x))
    assert teacher.model[0].weight.dtype == torch.float32


def test_float64_stays_float64():
    student = network().double()
    teacher = Teacher(student, momentum=0.25)
    start = teacher.model[0].weight.clone()
    train_once(student)
    teacher.update(student)
    torch.testing.assert_close(teacher.model[0].weight, 0.25 * start + 0.75 * student[0].weight, rtol=1e-14, atol=0)


def test_teacher_has_the_mode_of_its_owner():
    owner = nn.ModuleDict({"teacher": Teacher(network())})
    x = torch.randn(4, 3, 8, 8)
    owner.train()
    in_training = owner["teacher"](x)
    owner.eval()
    assert not owner["teacher"].model[1].training
    assert not torch.allclose(in_training, owner["teacher"](x))


def test_other_student_and_invalid_momentum_raise():
    teacher = Teacher(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="only one of them has bias"):
        teacher.update(nn.Linear(2, 2, bias=False))
    for momentum in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="momentum="):
            Teacher(nn.Linear(2, 2), momentum=momentum)
        with pytest.raises(ValueError, match="momentum="):
            teacher.update(nn.Linear(2, 2), momentum=momentum)


@pytest.mark.parametrize(
    ("ramp", "quarter"), [("cosine", 0.996 + 0.004 * (1 - math.cos(math.pi / 4)) / 2), ("linear", 0.997)]
)
def test_momentum_follows_its_ramp(ramp, quarter):
    """Oracle: the schedules of DINO (cosine) and I-JEPA (linear), both half-way at 0.998."""
    student = nn.Linear(1, 1, bias=False)
    for step, momentum in ((0, 0.996), (25, quarter), (50, 0.998), (100, 1.0)):
        teacher = Teacher(student, 0.996, 1.0, ramp=ramp)
        with torch.no_grad():
            teacher.model.weight.zero_()
            student.weight.fill_(1.0)
        teacher.follow(step, 100)
        assert teacher.model.weight.item() == pytest.approx(1 - momentum, abs=1e-6)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.dropout, self.norm, self.drop_path = (
            nn.Linear(4, 4),
            nn.Dropout(),
            nn.BatchNorm1d(4),
            DropPath(0.5),
        )
        self.width = 4

    def forward(self, x):
        return self.drop_path(self.dropout(self.layer(x)))

    def tokens(self, x, scale=1.0):
        return scale * self.norm(self.layer(x))


def test_teacher_has_the_methods_of_its_student():
    student, x = Encoder(), torch.randn(8, 4)
    teacher = Teacher(student)
    tokens = teacher.tokens(x, scale=2.0)
    assert not tokens.requires_grad
    torch.testing.assert_close(tokens, student.tokens(x, scale=2.0))
    assert teacher.width == 4
    assert copy.deepcopy(teacher).width == 4
    with pytest.raises(AttributeError, match="'Encoder' object has no attribute 'patches'"):
        teacher.patches(x)


def test_teacher_has_no_dropout_and_no_drop_path():
    student, x = Encoder(), torch.randn(8, 4)
    teacher = Teacher(student).train()
    assert torch.equal(teacher(x), teacher(x))
    assert not torch.equal(student(x), student(x))


def test_batch_norm_of_the_teacher_uses_the_chosen_statistics():
    x = 5 + torch.randn(8, 4)
    batch, running = (Teacher(Encoder(), batch_norm=kind).train() for kind in ("batch", "running"))
    assert batch.tokens(x).mean().abs() < 1e-5
    assert running.tokens(x).mean().abs() > 0.1
    assert running.model.norm.num_batches_tracked == 0
    assert running.model.layer.training


@pytest.mark.parametrize("option", ["ramp", "batch_norm"])
def test_unknown_option_of_the_teacher_is_an_error(option):
    with pytest.raises(ValueError, match=rf"{option}='half': expected one of"):
        Teacher(nn.Linear(1, 1), **{option: "half"})
