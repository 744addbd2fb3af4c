"""The step plan: how many batches and optimizer steps a run has."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from ssl_core.config.checks import check_epochs, check_max_steps
from ssl_core.errors import ConfigError
from ssl_core.schedules import SCHEDULES, cosine_ramp


@dataclass(frozen=True)
class StepPlan:
    """Numbers of batches and optimizer steps of a run, derived from its loader and ``optim``.

    Attributes
    ----------
    batches_per_epoch : int
        Batches of an epoch.
    steps_per_epoch : int
        Optimizer steps of an epoch.
    total_steps : int
        Optimizer steps of the run.
    warmup_steps : int
        Optimizer steps of the warm-up.
    accumulation_steps : int
        Batches of an optimizer step.
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
    ) -> "StepPlan":
        """Return the plan of a run.

        Parameters
        ----------
        num_batches : int
            Batches of the training loader in an epoch, on this rank.
        epochs : int
            ``optim.epochs``. ``epochs=0``: evaluation only, and the warm-up does not matter.
        max_steps, accumulation_steps
            As for :func:`steps_per_epoch`.
        warmup_epochs : float
            ``optim.warmup_epochs``; rounded to whole steps.

        Raises
        ------
        ConfigError
            (a ValueError) For an impossible combination of keys.
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

        ``end=None``: constant. There is no warm-up.
        """
        return 1.0 if end is None else cosine_ramp(step, self.total_steps, 1.0, end / start)

    def accumulation(self, batch: int) -> tuple[bool, int]:
        """Return :func:`accumulation` for this plan's epochs."""
        return accumulation(batch, self.batches_per_epoch, self.accumulation_steps)


def steps_per_epoch(num_batches: int, max_steps: int | float = -1, accumulation_steps: int = 1) -> tuple[int, int]:
    """Return the numbers of batches and of optimizer steps of an epoch.

    Parameters
    ----------
    num_batches : int
        Batches of the loader in an epoch.
    max_steps : int or float
        ``optim.max_steps``: -1 all batches, a whole number of them, or a fraction below 1 of the epoch (rounded, but at
        least one). ``1.0`` is an error, because it could mean one batch or all.
    accumulation_steps : int
        ``optim.accumulation_steps``: batches of an optimizer step. The last step of an epoch uses the batches that are
        left (see :func:`accumulation`), so that no batch is lost.

    Returns
    -------
    tuple of int
        ``(batches, optimizer steps)``.

    Raises
    ------
    ConfigError
        (a ValueError) For an impossible combination of keys.
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
    """Return whether the optimizer steps after this batch, and the divisor of the batch's loss.

    A group of batches ends at the end of an epoch at the latest. The divisor is the size of the group, so that every step
    uses the mean of its batches' gradients.

    Parameters
    ----------
    batch : int
        Number of the batch in the epoch, from 0.
    batches_per_epoch, accumulation_steps : int
        As in a :class:`StepPlan`.

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
