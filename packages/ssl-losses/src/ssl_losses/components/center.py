"""Self-distillation, the common part of DINO and iBOT: a student learns a teacher's outputs, centred and sharpened."""

import torch
from torch import Tensor

from ssl_losses.checks import check_counts, check_shares, check_temperature
from ssl_losses.components.accumulation import AccumulatedState
from ssl_losses.distributed import all_reduce_with_gradient
from ssl_losses.ops.sinkhorn import sinkhorn

CENTERINGS = ("mean", "sinkhorn")


@torch.no_grad()
def teacher_targets(logits: Tensor, center: Tensor | None, temperature: float) -> Tensor:
    """Return the probabilities ``(N, K)`` of a teacher's outputs ``(N, K)``, constants for autograd.

    ``center`` ``(K,)`` is taken off before the softmax (DINO). Without one, Sinkhorn-Knopp over all ranks' rows balances
    the prototypes (DINOv2).
    """
    if center is None:
        return sinkhorn(logits, temperature)
    return ((logits - center) / temperature).softmax(1)


def problem_with_center(center: Tensor | None, logits: Tensor) -> str | None:
    """Return what is wrong with a centre for a teacher's outputs ``(..., K)``, if anything."""
    if center is None or center.shape == logits.shape[-1:]:
        return None
    return (
        f"the center must be (K,) with the K of the teacher's outputs {tuple(logits.shape)}, got shape "
        f"{tuple(center.shape)}; num_prototypes sets it"
    )


class SelfDistillationLoss(AccumulatedState):
    """The options and the centre of the losses that distil a teacher.

    Parameters
    ----------
    num_prototypes : int
        K, the outputs of the head.
    student_temperature, teacher_temperature : float
        τ_s and τ_t.
    center_momentum : float
        Share of the old centre in the new.
    centering : str
        ``"mean"`` keeps a running mean, ``"sinkhorn"`` no state.

    Attributes
    ----------
    center : Tensor or None
        Buffer ``(K,)``, zero at first, the same on all ranks; None with ``centering="sinkhorn"``.
    """

    center: Tensor | None

    def __init__(
        self,
        num_prototypes: int,
        student_temperature: float,
        teacher_temperature: float,
        center_momentum: float,
        centering: str,
    ) -> None:
        super().__init__()
        check_temperature(student_temperature, "student_temperature")
        check_temperature(teacher_temperature, "teacher_temperature")
        check_shares(center_momentum=center_momentum)
        check_counts(num_prototypes=num_prototypes)
        if centering not in CENTERINGS:
            raise ValueError(f"centering must be one of {', '.join(map(repr, CENTERINGS))}, got {centering!r}")
        self.student_temperature, self.teacher_temperature = student_temperature, teacher_temperature
        self.center_momentum, self.centering = center_momentum, centering
        self.register_buffer("center", torch.zeros(num_prototypes) if centering == "mean" else None)

    @torch.no_grad()
    def _move_center(self, logits: Tensor) -> None:
        """Move the centre towards the mean of all ranks' rows ``(N, K)``, of which each may hold another number."""
        if self.center is not None:
            sums = torch.cat([logits.sum(0, dtype=self.center.dtype), self.center.new_full((1,), len(logits))])
            self.change_state(*all_reduce_with_gradient(sums).split([len(self.center), 1]))

    @torch.no_grad()
    def apply_change(self, total: Tensor, count: Tensor) -> None:  # type: ignore[override]
        """Move the centre towards the mean of ``count`` rows whose sum is ``total``; without a row it stays.

        It moves in place: targets are constants, so that nothing that autograd keeps holds the centre.
        """
        if self.center is not None:
            self.center.lerp_(total / count.clamp(min=1), (1 - self.center_momentum) * count.clamp(max=1))

    def extra_repr(self) -> str:
        """Return the options."""
        return (
            f"student_temperature={self.student_temperature}, teacher_temperature={self.teacher_temperature}, "
            f"center_momentum={self.center_momentum}, centering={self.centering!r}"
        )
