"""Schedules: pure functions of the optimizer step, without state.

Optimizer steps count from 0: the first step of a run uses the factor at 0, the last one that at ``total_steps - 1``.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from ssl_core.errors import MethodError, describe


def warmup_cosine(step: int, total_steps: int, warmup_steps: int = 0, final_factor: float = 0.0) -> float:
    """Return the factor of the peak learning rate: linear warm-up to 1, then half a cosine (Loshchilov & Hutter 2017).

    Parameters
    ----------
    step : int
        Optimizer steps done before this one.
    total_steps : int
        Optimizer steps of the whole run. From there on the factor is ``final_factor``.
    warmup_steps : int
        Steps of the warm-up, ``(step + 1) / (warmup_steps + 1)``: the first step already changes the weights, and the
        warm-up reaches 1 where the cosine starts.
    final_factor : float
        End of the cosine, one step after the last.

    Returns
    -------
    float
        In [0, 1].

    Examples
    --------
    >>> [round(warmup_cosine(step, total_steps=8, warmup_steps=3), 2) for step in range(8)]
    [0.25, 0.5, 0.75, 1.0, 0.9, 0.65, 0.35, 0.1]
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return cosine_ramp(step - warmup_steps, total_steps - warmup_steps, 1.0, final_factor)


def constant(step: int, total_steps: int, warmup_steps: int = 0) -> float:
    """Return the factor of the peak learning rate: the linear warm-up of :func:`warmup_cosine`, then 1."""
    return (step + 1) / (warmup_steps + 1) if step < warmup_steps else 1.0


def cosine_ramp(step: int, total: int, start: float, end: float) -> float:
    """Return a value on half a cosine from ``start`` (at step 0) to ``end`` (from step ``total`` on).

    With ``start=0.996, end=1`` the momentum of a teacher (BYOL, Grill et al. 2020, section 3.2).
    """
    if step >= total:
        return end
    return end + (start - end) * (1 + math.cos(math.pi * step / total)) / 2


def linear_ramp(step: int, total: int, start: float, end: float) -> float:
    """Return a value on a line from ``start`` (at step 0) to ``end`` (from step ``total`` on).

    The momentum of the teacher of I-JEPA and MSN; with ``total`` the length of a warm-up, the teacher's temperature of DINO.
    """
    return end if step >= total else start + (end - start) * step / total


# optim.schedule -> the function
SCHEDULES: dict[str, Callable[[int, int, int], float]] = {"constant": constant, "cosine": warmup_cosine}


def check_schedule(schedule: Any, subject: str) -> None:
    """Raise a MethodError, a sentence about ``subject``, for anything but a function of the step that returns a number."""
    factor = schedule(0) if callable(schedule) else None
    if isinstance(factor, bool) or not isinstance(factor, int | float):
        found = f"a function that returns {describe(factor)}" if callable(schedule) else describe(schedule)
        raise MethodError(
            f"{subject} {found}: expected a function of the optimizer step that returns the factor of the learning rate, e.g. "
            "lambda step: 0.99**step"
        )


def set_rates(
    optimizer: Any,
    step: int,
    schedule: Callable[[int], float],
    weight_decay_factor: float = 1.0,
    group_schedules: Mapping[int, Callable[[int], float]] | None = None,
) -> None:
    """Set learning rate and weight decay of each parameter group for an optimizer step: a factor times the initial value.

    The initial values are kept in the group by :func:`keep_initial_rates`. Weight decay 0 remains 0.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Any optimizer; ``weight_decay`` is set in groups that have it.
    step, schedule
        The optimizer step, and a function of it that returns the factor of the learning rate.
    weight_decay_factor : float
        Factor of the weight decay.
    group_schedules : dict, optional
        Schedules that replace ``schedule``, by the number ``group["group"]`` of a parameter group.

    Examples
    --------
    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.4, weight_decay=0.1)
    >>> for step in range(2):
    ...     set_rates(optimizer, step, lambda step: 0.5, weight_decay_factor=2.0)
    >>> optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["weight_decay"]
    (0.2, 0.2)
    """
    keep_initial_rates(optimizer)
    factors = {number: each(step) for number, each in (group_schedules or {}).items()}
    factor = schedule(step)
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factors.get(group.get("group"), factor)
        if "weight_decay" in group:
            group["weight_decay"] = group["initial_weight_decay"] * weight_decay_factor


def keep_initial_rates(optimizer: Any) -> None:
    """Add ``initial_lr`` (as torch's schedulers do) and ``initial_weight_decay`` to each group that lacks them.

    The loop calls it for a new optimizer of any class, before a checkpoint is loaded.
    """
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
        if "weight_decay" in group:
            group.setdefault("initial_weight_decay", group["weight_decay"])
