"""Teachers: exponential moving averages of a network, without gradients."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ssl_core.schedules import cosine_ramp


class Teacher(nn.Module):
    """The exponential moving average of a student: ``teacher ← m · teacher + (1 - m) · student`` after every step.

    As the key encoder of MoCo (He et al. 2020), the target network of BYOL (Grill et al. 2020) and the teacher of DINO
    (Caron et al. 2021).

    Parameters
    ----------
    student : nn.Module
        The network, copied with its present weights. It is not registered: ``state_dict()`` and ``parameters()`` hold only
        the copy.
    momentum : float
        m at the start of the run, in [0, 1].
    final_momentum : float, optional
        m at its end, reached on half a cosine (BYOL and DINO: 1). Default: constant.

    Raises
    ------
    ValueError
        For a momentum outside [0, 1].

    Notes
    -----
    **What is averaged.** Parameters and floating-point buffers (the running statistics of batch normalisation) are;
    integer and boolean buffers (its counter) are copied.

    **Mode.** It follows ``train()`` and ``eval()`` of the module that owns it, as any module: in training its batch
    normalisation uses the statistics of the batch, as in MoCo and BYOL. ``teacher.eval()`` in ``before_train_step``
    gives the other choice.

    **Precision.** One step of the average is below what bfloat16 or float16 can resolve: the teacher would stand still.
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

    def __init__(self, student: nn.Module, momentum: float = 0.996, final_momentum: float | None = None) -> None:
        super().__init__()
        self.momentum = _checked(momentum)
        self.final_momentum = self.momentum if final_momentum is None else _checked(final_momentum)
        self.model = copy.deepcopy(student).requires_grad_(False)
        self._widened = any(map(_is_narrow, _tensors(student)))
        if self._widened:
            self.model.float()
        self._student = (student,)  # in a tuple, where nn.Module does not look for submodules

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the copy gives, without a gradient."""
        if self._widened:
            args = tuple(_widen(value) for value in args)
            kwargs = {name: _widen(value) for name, value in kwargs.items()}
        return self.model(*args, **kwargs)

    def follow(self, step: int, total_steps: int) -> None:
        """Move towards the student that it was made of, by the momentum of this step. Call it after optimizer steps.

        Parameters
        ----------
        step, total_steps : int
            Optimizer steps done, and those of the whole run: where on the way to ``final_momentum`` this is.
        """
        self.update(self._student[0], cosine_ramp(step, total_steps, self.momentum, self.final_momentum))

    def restart(self) -> None:
        """Copy the present weights of the student, e.g. after they were loaded from a file."""
        self.update(self._student[0], momentum=0.0)

    @torch.no_grad()
    def update(self, student: nn.Module, momentum: float | None = None) -> None:
        """Move towards ``student``: all the way at momentum 0, not at all at 1. Default: the momentum of the start.

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
