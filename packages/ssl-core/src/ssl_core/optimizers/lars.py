"""LARS: a learning rate for each layer, for training with large batches."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ssl_core.optimizers.foreach import LayerWise, check_options, norms, state_of


class LARS(LayerWise):
    r"""Layer-wise adaptive rate scaling (You, Gitman & Ginsburg 2017, https://arxiv.org/abs/1708.03888).

    With gradient g, weights w, weight decay β, momentum m, trust coefficient η and learning rate γ, for each parameter

    .. math::
        λ = η \, ‖w‖ / (‖g‖ + β ‖w‖), \qquad v ← m v + λ (g + β w), \qquad w ← w - γ v

    Parameters of at most one dimension (biases, normalization) have λ = 1 and β = 0, whatever their group sets: for them it
    is SGD with momentum. λ is 1 where w or g is exactly zero, as in a zero-initialized layer.

    Deviation from the paper: γ is applied outside of the momentum, as in ``torch.optim.SGD`` and in the code of Barlow
    Twins (Zbontar et al. 2021); in the paper it is inside. The two differ only while γ changes.

    Parameters
    ----------
    params : iterable
        Parameters, or groups of them.
    lr : float
        γ. Typically larger than SGD's: 0.1 to 10.
    momentum : float
        m, in [0, 1).
    weight_decay : float
        β.
    trust_coefficient : float
        η.
    clip : bool
        LARC: λ becomes min(λ / γ, 1), so that the rate of a layer, γ λ, is at most γ. solo-learn's recipes use it
        (``clip_lr``) with η = 0.02.
    nesterov : bool
        Nesterov momentum, as in ``torch.optim.SGD``: w ← w - γ (λ (g + β w) + m v).

    Raises
    ------
    ValueError
        For a negative option, a momentum of 1 or more, or ``nesterov`` without momentum.

    Notes
    -----
    Norms are computed in float32 at least. A step never waits for the device.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
        clip: bool = False,
        nesterov: bool = False,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust_coefficient": trust_coefficient}
        check_options("LARS", (), **options)
        if nesterov and not momentum:
            raise ValueError("LARS: nesterov=True: expected a momentum above 0")
        plain = {name: float(value) for name, value in options.items()}
        super().__init__(params, plain | {"clip": bool(clip), "nesterov": bool(nesterov)})

    def _step(self, parameters: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> None:
        updates = _scaled_updates(parameters, gradients, group) if parameters[0].ndim > 1 else gradients
        if group["momentum"]:
            velocities = state_of(self, parameters, "momentum_buffer")
            torch._foreach_mul_(velocities, group["momentum"])
            torch._foreach_add_(velocities, updates)
            if group["nesterov"]:
                updates = list(torch._foreach_add(updates, velocities, alpha=group["momentum"]))
            else:
                updates = velocities
        torch._foreach_add_(parameters, updates, alpha=-group["lr"])


def _scaled_updates(weights: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
    """Return λ (g + β w) for each parameter."""
    weight_norms, gradient_norms = norms(weights), norms(gradients)
    ratios = group["trust_coefficient"] * weight_norms / (gradient_norms + group["weight_decay"] * weight_norms)
    if group["clip"]:
        ratios = (ratios / group["lr"]).clamp(max=1.0)  # lr=0: infinite, so 1
    ratios = torch.where((weight_norms > 0) & (gradient_norms > 0), ratios, 1.0).to(weights[0].dtype)
    updates = list(torch._foreach_add(gradients, weights, alpha=group["weight_decay"]))
    torch._foreach_mul_(updates, list(ratios.unbind()))
    return updates
