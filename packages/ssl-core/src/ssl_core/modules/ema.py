"""Teachers: exponential moving averages of a network, without gradients."""

import copy
import functools
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ssl_core.modules.transformer.rotary import RotaryPositions
from ssl_core.schedules import cosine_ramp, linear_ramp

_message = logging.getLogger(__name__)
_RAMPS = {"cosine": cosine_ramp, "linear": linear_ramp}


class Teacher(nn.Module):
    """The exponential moving average of a student: ``teacher ← m · teacher + (1 - m) · student`` after every step.

    The key encoder of MoCo (He et al. 2020), the target network of BYOL (Grill et al. 2020) and the teacher of DINO (Caron et
    al. 2021) are such averages.

    Parameters
    ----------
    student : nn.Module
        The network, copied with its current weights. It is not registered: ``state_dict()`` and ``parameters()`` hold only the
        copy.
    momentum : float
        m at the start of the run, in [0, 1].
    final_momentum : float, optional
        m at the end of the run (BYOL and DINO: 1). Default: ``momentum``.
    ramp : {"cosine", "linear"}
        How m changes over the run: half a cosine (BYOL, DINO) or a line (I-JEPA, MSN).
    batch_norm : {"batch", "running"}
        Statistics of batch normalisation in training: those of the batch (MoCo, BYOL), or the running averages.

    Raises
    ------
    ValueError
        For a momentum outside [0, 1], or an unknown ramp or batch_norm.

    Notes
    -----
    **What is averaged.** Parameters and floating-point buffers (the running statistics of batch normalisation) are;
    integer and boolean buffers (its counter) are copied.

    **Methods.** ``teacher.tokens(x)`` calls the method ``tokens`` of the copy, without a gradient. So does every method
    of the copy whose name the teacher does not have.

    **Dropout and stochastic depth.** Both are off in the copy: its output for an image is always the same.

    **Precision.** One step of the average is below what bfloat16 or float16 can resolve: the teacher would not change.
    The copy of a narrow student is therefore kept in float32, takes its inputs in float32 and gives float32. Under
    autocast, students are float32 anyway.

    **Resumption.** All state is in ``state_dict()``; nothing is taken from the student when training starts again.

    Examples
    --------
    >>> student = nn.Linear(2, 1)
    >>> teacher = Teacher(student, momentum=0.9)
    >>> with torch.no_grad():
    ...     before = student.weight.clone()
    ...     _ = student.weight.add_(1.0)
    >>> teacher.update(student)
    >>> bool(torch.allclose(teacher.model.weight, before + 0.1))
    True
    """

    def __init__(
        self,
        student: nn.Module,
        momentum: float = 0.996,
        final_momentum: float | None = None,
        ramp: str = "cosine",
        batch_norm: str = "batch",
    ) -> None:
        super().__init__()
        if ramp not in _RAMPS:
            raise ValueError(f"ramp={ramp!r}: expected one of 'cosine', 'linear'")
        if batch_norm not in ("batch", "running"):
            raise ValueError(f"batch_norm={batch_norm!r}: expected one of 'batch', 'running'")
        self.ramp, self.batch_norm = ramp, batch_norm
        self.momentum = _checked(momentum)
        self.final_momentum = self.momentum if final_momentum is None else _checked(final_momentum)
        self.model = copy.deepcopy(student).requires_grad_(False)
        module: Any
        for module in self.model.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.p = 0.0
            elif type(module).__name__ == "DropPath":  # ours, and timm's
                module.drop_prob = 0.0
            elif isinstance(module, RotaryPositions):
                module.rescale = 1.0
        self._widened = any(map(_is_narrow, _tensors(student)))
        if self._widened:
            self.model.float()
        self._student = (student,)  # in a tuple, where nn.Module does not look for submodules

    def train(self, mode: bool = True) -> "Teacher":
        """Set the mode of the copy; with ``batch_norm="running"`` its batch normalisation stays in evaluation mode."""
        super().train(mode)
        if self.batch_norm == "running":
            for module in self.model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the output of the copy, without a gradient."""
        return self._call(self.model, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            value = getattr(super().__getattr__("model"), name)
        return functools.partial(self._call, value) if callable(value) and not isinstance(value, nn.Module) else value

    @torch.no_grad()
    def _call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._widened:
            args = tuple(_widen(value) for value in args)
            kwargs = {name: _widen(value) for name, value in kwargs.items()}
        return function(*args, **kwargs)

    def follow(self, step: int, total_steps: int) -> None:
        """Update the average with the student that was copied, by the momentum of this step. Call it after each optimizer step.

        Parameters
        ----------
        step, total_steps : int
            Optimizer steps done, and those of the whole run; they determine the momentum.
        """
        momentum = _RAMPS[self.ramp](step, total_steps, self.momentum, self.final_momentum)
        self.update(self._student[0], momentum)

    def restart(self) -> None:
        """Copy the current weights of the student, e.g. after they were loaded from a file."""
        self.update(self._student[0], momentum=0.0)

    @torch.no_grad()
    def update(self, student: nn.Module, momentum: float | None = None) -> None:
        """Update the average with ``student``: momentum 0 copies it, 1 changes nothing. Default: the initial momentum.

        Raises
        ------
        ValueError
            If the student has other parameters or buffers than the copy, or for a momentum outside [0, 1].
        """
        weight = 1.0 - (self.momentum if momentum is None else _checked(momentum))
        mine, theirs = _named_tensors(self.model), _named_tensors(student)
        if mine.keys() != theirs.keys():
            raise ValueError(
                "the student must be built as the one that this teacher was made of; only one of them has "
                f"{', '.join(sorted(mine.keys() ^ theirs.keys()))}"
            )
        averaged: dict[tuple[torch.dtype, type], tuple[list[Tensor], list[Tensor]]] = {}  # sharded ones by themselves
        for name, tensor in mine.items():
            if tensor.is_floating_point() or tensor.is_complex():
                teachers, students = averaged.setdefault((tensor.dtype, type(tensor.data)), ([], []))
                teachers.append(tensor)
                students.append(theirs[name].to(tensor.dtype))
            else:
                tensor.copy_(theirs[name])
        for teachers, students in averaged.values():
            torch._foreach_lerp_(teachers, students, weight)


def teachers_of(model: nn.Module) -> list[Teacher]:
    """Return the teachers among the modules of a model."""
    return [module for module in model.modules() if isinstance(module, Teacher)]


def warn_if_slow(teachers: list[Teacher], total_steps: int, key: str = "model.momentum") -> None:
    """Log a warning if an average forgets its start too slowly for a run of this many optimizer steps.

    It forgets 63 % of it in 1 / (1 - m) steps, which should be a fifth of the run at most: the 0.996 of BYOL is made for
    runs of 1250 steps and more. In a run of fewer than 10 steps, nothing is learned whatever m is. ``key`` is the name of
    the momentum for the user; a user-defined method has its value in the code.
    """
    for momentum in sorted({teacher.momentum for teacher in teachers} - {1.0}):
        if total_steps >= 10 and total_steps * (1.0 - momentum) < 5:
            _message.warning(
                "the teacher averages over %.0f optimizer steps and the run has %d: lower %s=%g to %.3g at most",
                1 / (1.0 - momentum), total_steps, key, momentum, 1.0 - 5 / total_steps,
            )  # fmt: skip


def _named_tensors(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.named_parameters()) | dict(module.named_buffers())


def _tensors(module: nn.Module) -> list[Tensor]:
    return list(_named_tensors(module).values())


def _is_narrow(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.dtype.itemsize < 4


def _widen(value: Any) -> Any:
    return value.float() if _is_narrow(value) else value


def _checked(momentum: float) -> float:
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum={momentum}: expected a number from 0 (always the student) to 1 (never moves)")
    return momentum
