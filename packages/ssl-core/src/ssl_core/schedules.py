"""Schedules: pure functions of the optimizer step, and the plan that says how many steps there are.

A step counts optimizer steps from 0: the first step of a run asks for the factor at 0, the last for that at
``total_steps - 1``. Nothing here has a state, so that a resumed run needs nothing but its step. No torch is imported.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from ssl_core.errors import ConfigError


def warmup_cosine(step: int, total_steps: int, warmup_steps: int = 0, final_factor: float = 0.0) -> float:
    """Return the factor of the peak learning rate: a line up to 1, then half a cosine down (Loshchilov & Hutter 2017).

    Parameters
    ----------
    step : int
        Optimizer steps done before this one.
    total_steps : int
        Optimizer steps of the whole run. From there on the factor is ``final_factor``.
    warmup_steps : int
        Steps of the line: ``(step + 1) / (warmup_steps + 1)``, so that the first one already moves the weights and the
        line meets the cosine at 1, where it starts.
    final_factor : float
        What the cosine ends at, one step after the last.

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
    """Return the factor of the peak learning rate: the line of :func:`warmup_cosine`, then 1 for good."""
    return (step + 1) / (warmup_steps + 1) if step < warmup_steps else 1.0


def cosine_ramp(step: int, total: int, start: float, end: float) -> float:
    """Return a value on half a cosine from ``start`` (at step 0) to ``end`` (from step ``total`` on).

    With ``start=0.996, end=1`` the momentum of a teacher (BYOL, Grill et al. 2020, section 3.2).
    """
    if step >= total:
        return end
    return end + (start - end) * (1 + math.cos(math.pi * step / total)) / 2


# optim.schedule -> the function
SCHEDULES: dict[str, Callable[[int, int, int], float]] = {"constant": constant, "cosine": warmup_cosine}


@dataclass(frozen=True)
class Plan:
    """How long a run is, derived from its loader and ``optim``.

    Attributes
    ----------
    batches_per_epoch : int
        Batches of the loader that an epoch takes.
    steps_per_epoch : int
        Optimizer steps in them.
    total_steps : int
        Optimizer steps of the run.
    warmup_steps : int
        Those of the warm-up among them.
    accumulation_steps : int
        Batches to an optimizer step.
    """

    batches_per_epoch: int
    steps_per_epoch: int
    total_steps: int
    warmup_steps: int
    accumulation_steps: int = 1

    @classmethod
    def of(
        cls,
        num_batches: int,
        epochs: int,
        max_steps: int | float = -1,
        accumulation_steps: int = 1,
        warmup_epochs: float = 0.0,
    ) -> "Plan":
        """Return the plan of a run.

        Parameters
        ----------
        num_batches : int
            Batches of the training loader in an epoch, on this rank.
        epochs : int
            ``optim.epochs``. 0 is a run that only evaluates; its warm-up does not matter.
        max_steps, accumulation_steps
            As for :func:`steps_per_epoch`.
        warmup_epochs : float
            ``optim.warmup_epochs``; rounded to whole steps.

        Raises
        ------
        ConfigError
            (a ValueError) If the combination is impossible; the message names keys and values.
        """
        check_epochs(epochs, warmup_epochs)
        batches, steps = steps_per_epoch(num_batches, max_steps, accumulation_steps)
        total = epochs * steps
        return cls(batches, steps, total, min(round(warmup_epochs * steps), total), accumulation_steps)

    def schedule(self, name: str) -> Callable[[int], float]:
        """Return the schedule of this name, a function of the step alone.

        Raises
        ------
        ConfigError
            For a name that is not in :data:`SCHEDULES`.
        """
        if name not in SCHEDULES:
            raise ConfigError(f"optim.schedule={name!r}: expected one of {', '.join(map(repr, SCHEDULES))}")
        factor = SCHEDULES[name]
        return lambda step: factor(step, self.total_steps, self.warmup_steps)

    def weight_decay_factor(self, step: int, start: float, end: float | None) -> float:
        """Return the factor of a weight decay that goes from ``start`` to ``end`` on half a cosine (DINO, Caron et al. 2021).

        ``end=None`` is one that stays as it is. There is no warm-up.
        """
        return 1.0 if end is None else cosine_ramp(step, self.total_steps, 1.0, end / start)

    def accumulation(self, batch: int) -> tuple[bool, int]:
        """Return :func:`accumulation` for this plan's epochs."""
        return accumulation(batch, self.batches_per_epoch, self.accumulation_steps)


def check_epochs(epochs: int, warmup_epochs: float) -> None:
    """Raise a ConfigError for a run of fewer than no epochs, or a warm-up that is longer than the run."""
    if epochs < 0:
        raise ConfigError(f"optim.epochs={epochs}: expected at least 0")
    if not warmup_epochs >= 0:
        raise ConfigError(f"optim.warmup_epochs={warmup_epochs}: expected at least 0")
    if warmup_epochs > epochs > 0:
        raise ConfigError(f"optim.warmup_epochs={warmup_epochs} is longer than the run: optim.epochs={epochs}")


def check_weight_decay_end(weight_decay: float, weight_decay_end: float | None) -> None:
    """Raise a ConfigError for a weight decay that begins at 0 and yet is to change: which parameters have one?"""
    if weight_decay_end is not None and not weight_decay > 0:
        raise ConfigError(
            f"optim.weight_decay_end={weight_decay_end} needs a weight decay to begin with: optim.weight_decay="
            f"{weight_decay}, expected above 0 (1e-6, say)"
        )


def check_max_steps(max_steps: int | float) -> None:
    """Raise a ConfigError for a number that is neither -1, nor a whole number of batches, nor a fraction of the epoch."""
    whole = max_steps >= 1 and (isinstance(max_steps, int) or (max_steps.is_integer() and max_steps != 1))
    if not (max_steps == -1 or 0 < max_steps < 1 or whole):
        raise ConfigError(
            f"optim.max_steps={max_steps}: expected -1 (all batches), a whole number of batches (1 without a point), "
            "or a fraction of the epoch between 0 and 1"
        )


def steps_per_epoch(num_batches: int, max_steps: int | float = -1, accumulation_steps: int = 1) -> tuple[int, int]:
    """Return how many batches an epoch takes, and how many optimizer steps it makes of them.

    Parameters
    ----------
    num_batches : int
        Batches of the loader in an epoch.
    max_steps : int or float
        ``optim.max_steps``: -1 all batches, a whole number of them, or a fraction below 1 of the epoch (rounded, but at
        least one). More batches than there are is refused, and so is ``1.0``: is it one batch, or all?
    accumulation_steps : int
        ``optim.accumulation_steps``: batches to an optimizer step. Where it does not divide the epoch, the last step of
        the epoch is made of the batches that are left (see :func:`accumulation`), so that no batch is lost.

    Returns
    -------
    tuple of int
        ``(batches, optimizer steps)``.

    Raises
    ------
    ConfigError
        (a ValueError) If the combination is impossible.
    """
    if num_batches < 1:
        raise ConfigError("the training loader has no batch: there are fewer samples than optim.batch_size; lower it")
    batches = _batches(num_batches, max_steps)
    if accumulation_steps < 1:
        raise ConfigError(f"optim.accumulation_steps={accumulation_steps}: expected at least 1")
    if accumulation_steps > batches:
        raise ConfigError(
            f"optim.accumulation_steps={accumulation_steps} is more than an epoch has: {batches} batches of "
            f"{num_batches} in the loader, optim.max_steps={max_steps}"
        )
    return batches, math.ceil(batches / accumulation_steps)


def _batches(num_batches: int, max_steps: int | float) -> int:
    check_max_steps(max_steps)
    if max_steps == -1:
        return num_batches
    if max_steps < 1:
        return max(1, round(max_steps * num_batches))
    if max_steps > num_batches:
        raise ConfigError(
            f"optim.max_steps={max_steps} is more than the training loader has: {num_batches} batches of "
            "optim.batch_size; -1 takes all"
        )
    return int(max_steps)


def accumulation(batch: int, batches_per_epoch: int, accumulation_steps: int) -> tuple[bool, int]:
    """Return whether the optimizer steps after this batch, and by what the batch's loss is divided.

    Groups never reach over the end of an epoch: the last may be smaller, and is divided by its own size, so that every
    step moves along the mean of its batches' gradients.

    Parameters
    ----------
    batch : int
        Number of the batch in the epoch, from 0.
    batches_per_epoch, accumulation_steps : int
        As in a :class:`Plan`.

    Returns
    -------
    tuple of (bool, int)
        ``(steps, divisor)``.

    Examples
    --------
    >>> [accumulation(batch, batches_per_epoch=5, accumulation_steps=3) for batch in range(5)]
    [(False, 3), (False, 3), (True, 3), (False, 2), (True, 2)]
    """
    first = batch - batch % accumulation_steps
    size = min(accumulation_steps, batches_per_epoch - first)
    return batch == first + size - 1, size
