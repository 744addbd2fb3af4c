"""What a teacher's outputs become before a student learns them: centred, then sharpened. DINO and iBOT share it."""

import torch
from torch import Tensor

from ssl_losses.distributed import all_reduce_with_gradient
from ssl_losses.sinkhorn import sinkhorn

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


@torch.no_grad()
def move_center(center: Tensor, logits: Tensor, momentum: float) -> None:
    """Move ``center`` ``(K,)`` towards the mean of all ranks' rows ``(N, K)``, in place.

    The ranks may hold different numbers of rows. Without any row the centre stays. Nothing that autograd keeps holds the
    centre: targets are constants.
    """
    ones = center.new_ones(len(logits), 1)  # a column that counts the rows, so that one sum travels
    sums = all_reduce_with_gradient(torch.cat([logits.to(center.dtype), ones], dim=1).sum(0))
    total, count = sums[:-1], sums[-1]
    center.lerp_(total / count.clamp(min=1), (1 - momentum) * count.clamp(max=1))


def problem_with_center(center: Tensor | None, logits: Tensor) -> str | None:
    """Return what is wrong with a centre for a teacher's outputs ``(..., K)``, if anything."""
    if center is None or center.shape == logits.shape[-1:]:
        return None
    return (
        f"the center must be (K,) with the K of the teacher's outputs {tuple(logits.shape)}, got shape "
        f"{tuple(center.shape)}; num_prototypes sets it"
    )


def check_centering(centering: str) -> None:
    """Raise ``ValueError`` for a centring that does not exist."""
    if centering not in CENTERINGS:
        raise ValueError(f"centering must be one of {', '.join(map(repr, CENTERINGS))}, got {centering!r}")
