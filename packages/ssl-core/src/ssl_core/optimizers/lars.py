"""LARS: a learning rate for each layer, so that large batches can be trained with large steps."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ssl_core.optimizers.foreach import norms
from ssl_core.optimizers.layer_wise import LayerWise


class LARS(LayerWise):
    r"""Layer-wise adaptive rate scaling (You, Gitman & Ginsburg 2017, https://arxiv.org/abs/1708.03888).

    With gradient g, weights w, weight decay β, momentum m, trust coefficient η and learning rate γ, for each parameter

    .. math::
        λ = η \, ‖w‖ / (‖g‖ + β ‖w‖), \qquad v ← m v + λ (g + β w), \qquad w ← w - γ v

    Parameters of at most one dimension (biases, normalisation) are neither adapted nor decayed, whatever their group
    says: for them it is SGD with momentum. λ is 1 where w or g is exactly zero, as in a zero-initialised layer.

    Deviation from the paper: γ stands outside of the momentum, as in ``torch.optim.SGD`` and in the code of Barlow
    Twins (Zbontar et al. 2021); in the paper it is inside. The two differ only while γ changes. There is no Nesterov
    momentum.

    Parameters
    ----------
    params : iterable
        Parameters, or groups of them.
    lr : float
        γ. Scaled by λ, it is typically larger than SGD's: 0.1 to 10.
    momentum : float
        m, in [0, 1).
    weight_decay : float
        β.
    trust_coefficient : float
        η.

    Raises
    ------
    ValueError
        For a negative option, or a momentum that is not below 1.

    Notes
    -----
    Norms are in float32 at least. Nothing in a step waits for the device.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust_coefficient": trust_coefficient}
        for name, value in options.items():
            if not value >= 0:  # also refuses NaN
                raise ValueError(f"LARS: {name}={value}: expected at least 0")
        if momentum >= 1:
            raise ValueError(f"LARS: momentum={momentum}: expected less than 1")
        super().__init__(params, {name: float(value) for name, value in options.items()})

    def _step(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """Move parameters of one device, one dtype, all adapted or none."""
        updates: list[Tensor] = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if parameters[0].ndim > 1:
            updates = _adapted(parameters, updates, group["weight_decay"], group["trust_coefficient"])
        if group["momentum"]:
            velocities = [self._velocity(parameter) for parameter in parameters]
            torch._foreach_mul_(velocities, group["momentum"])
            torch._foreach_add_(velocities, updates)
            updates = velocities
        torch._foreach_add_(parameters, updates, alpha=-group["lr"])

    def _velocity(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        return state["momentum_buffer"]


def _adapted(weights: list[Tensor], gradients: list[Tensor], weight_decay: float, trust: float) -> list[Tensor]:
    """Return λ (g + β w) for each pair."""
    weight_norms, gradient_norms = norms(weights), norms(gradients)
    ratios = trust * weight_norms / (gradient_norms + weight_decay * weight_norms)
    ratios = torch.where((weight_norms > 0) & (gradient_norms > 0), ratios, 1.0).to(weights[0].dtype)
    updates = list(torch._foreach_add(gradients, weights, alpha=weight_decay))
    torch._foreach_mul_(updates, list(ratios.unbind()))
    return updates
