"""The step plan: how many batches and optimizer steps a run has."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from ssl_core.config import OptimConfig
from ssl_core.errors import ConfigError
from ssl_core.schedules import SCHEDULES, cosine_ramp


@dataclass(frozen=True)
class StepPlan:
    """Numbers of batches and optimizer steps of a run, derived from its loader and ``optim``."""

    batches_per_epoch: int
    steps_per_epoch: int  # optimizer steps
    total_steps: int  # optimizer steps of the run
    warmup_steps: int  # optimizer steps of the warm-up
    accumulation_steps: int = 1  # batches of an optimizer step

    @classmethod
    def of(cls, num_batches: int, optim: OptimConfig) -> "StepPlan":
        """Return the plan of a run whose training loader has ``num_batches`` batches, on this rank.

        With ``optim.accumulation_steps``, the last step of an epoch uses the batches that are left. The warm-up is rounded to
        whole steps.

        Raises
        ------
        ConfigError
            If an epoch has fewer batches than ``optim`` asks for.
        """
        if num_batches < 1:
            raise ConfigError(
                "the training loader has no batch: there are fewer samples than optim.batch_size; lower it"
            )
        batches = int(optim.max_steps)
        if optim.max_steps == -1:
            batches = num_batches
        elif optim.max_steps < 1:  # a fraction of the epoch
            batches = max(1, round(optim.max_steps * num_batches))
        for key, expected in (("max_steps", num_batches), ("accumulation_steps", batches)):
            if getattr(optim, key) > expected:
                raise ConfigError(
                    key=f"optim.{key}",
                    value=getattr(optim, key),
                    expected=f"at most {expected}, the batches of an epoch (the training loader has {num_batches}, "
                    f"optim.max_steps={optim.max_steps})",
                )
        steps = math.ceil(batches / optim.accumulation_steps)
        total = optim.epochs * steps
        warmup = min(round(optim.warmup_epochs * steps), total)
        return cls(batches, steps, total, warmup, optim.accumulation_steps)

    def schedule(self, name: str) -> Callable[[int], float]:
        """Return the schedule of this name in :data:`SCHEDULES`, a function of the step alone."""
        factor = SCHEDULES[name]
        return lambda step: factor(step, self.total_steps, self.warmup_steps)

    def weight_decay_factor(self, step: int, start: float, end: float | None) -> float:
        """Return the factor of a weight decay that goes from ``start`` to ``end`` on half a cosine (DINO, Caron et al. 2021).

        ``end=None``: constant. There is no warm-up.
        """
        return 1.0 if end is None else cosine_ramp(step, self.total_steps, 1.0, end / start)

    def accumulation(self, batch: int) -> tuple[bool, int]:
        """Return whether the optimizer steps after this batch of an epoch, and the divisor of the batch's loss.

        A group of batches ends at the end of an epoch at the latest. The divisor is the size of the group, so that every step
        uses the mean of its batches' gradients.

        Examples
        --------
        >>> plan = StepPlan(batches_per_epoch=5, steps_per_epoch=2, total_steps=2, warmup_steps=0, accumulation_steps=3)
        >>> [plan.accumulation(batch) for batch in range(5)]
        [(False, 3), (False, 3), (True, 3), (False, 2), (True, 2)]
        """
        first = batch - batch % self.accumulation_steps
        size = min(self.accumulation_steps, self.batches_per_epoch - first)
        return batch == first + size - 1, size
