"""The centre of self-distillation (DINO, iBOT): the running mean of a teacher's outputs, and the targets made with it."""

import torch
from torch import Tensor

from ssl_losses.checks import check_counts, check_shares
from ssl_losses.components.accumulation import AccumulatedState, Change
from ssl_losses.distributed import all_reduce_with_gradient
from ssl_losses.ops.sinkhorn import sinkhorn

CENTERINGS = ("mean", "sinkhorn")


@torch.no_grad()
def teacher_targets(logits: Tensor, center: Tensor | None, temperature: float) -> Tensor:
    """Return the probabilities ``(N, K)`` of a teacher's outputs ``(N, K)``, constants for autograd.

    ``center`` ``(K,)`` is subtracted before the softmax (DINO). Without one, Sinkhorn-Knopp over all ranks' rows balances
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


def initial_center(num_prototypes: int, centering: str) -> Tensor | None:
    """Return zeros ``(K,)`` for ``"mean"``, a running mean, and None for ``"sinkhorn"``, which has no state."""
    check_counts(num_prototypes=num_prototypes)
    if centering not in CENTERINGS:
        raise ValueError(f"centering must be one of {', '.join(map(repr, CENTERINGS))}, got {centering!r}")
    return torch.zeros(num_prototypes) if centering == "mean" else None


class Center(AccumulatedState):
    """Moves the centre of a loss towards the mean of a teacher's outputs, once for each optimizer step.

    The centre itself is a buffer of the loss, so that its key in the ``state_dict`` is ``center``.

    Parameters
    ----------
    momentum : float
        Share of the old centre in the new.
    """

    def __init__(self, momentum: float) -> None:
        super().__init__()
        check_shares(center_momentum=momentum)
        self.momentum = momentum

    @torch.no_grad()
    def update(self, center: Tensor | None, logits: Tensor) -> None:
        """Move the centre towards the mean of all ranks' rows ``(N, K)``, of which each may hold another number."""
        if center is not None:
            sums = torch.cat([logits.sum(0, dtype=center.dtype), center.new_full((1,), len(logits))])
            self.change_state(center, *all_reduce_with_gradient(sums).split([len(center), 1]))

    def merge_changes(self, first: Change, second: Change) -> Change:
        """Return the centre, and the sums of both."""
        return (first[0], *super().merge_changes(first[1:], second[1:]))

    @torch.no_grad()
    def apply_change(self, center: Tensor, total: Tensor, count: Tensor) -> None:  # type: ignore[override]
        """Move the centre towards the mean of ``count`` rows whose sum is ``total``; without a row it does not move.

        It moves in place: targets are constants, so that autograd keeps no reference to the centre.
        """
        center.lerp_(total / count.clamp(min=1), (1 - self.momentum) * count.clamp(max=1))

    def extra_repr(self) -> str:
        """Return the momentum."""
        return f"momentum={self.momentum}"
