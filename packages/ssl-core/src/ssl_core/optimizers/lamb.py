"""LAMB: Adam with a step in each layer that is proportional to its weights."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ssl_core.optimizers.foreach import LayerWise, check_options, norms, state_of


class LAMB(LayerWise):
    r"""Layer-wise adaptive moments (You et al. 2020, algorithm 2, https://arxiv.org/abs/1904.00962), φ the identity.

    With gradient g, weights w, weight decay λ, learning rate γ, at a parameter's t-th step

    .. math::
        m ← β_1 m + (1 - β_1) g, \qquad v ← β_2 v + (1 - β_2) g^2, \\
        u = \frac{m / (1 - β_1^t)}{\sqrt{v / (1 - β_2^t)} + ε} + λ w, \qquad w ← w - γ \frac{‖w‖}{‖u‖} u

    Parameters of at most one dimension (biases, normalization) have the ratio 1 and λ = 0, whatever their group sets: for
    them it is Adam. The ratio is 1 where w or u is exactly zero, as in a zero-initialized layer. The gradient is not
    clipped here; ``optim.grad_max_norm`` does that.

    Parameters
    ----------
    params : iterable
        Parameters, or groups of them.
    lr : float
        γ. The length of a layer's step, as a share of the norm of its weights.
    betas : tuple of float
        β₁ and β₂, each in [0, 1).
    eps : float
        ε.
    weight_decay : float
        λ.

    Raises
    ------
    ValueError
        For a negative option, or a β that is not below 1.

    Notes
    -----
    Norms are computed in float32 at least. A step never waits for the device.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        check_options("LAMB", tuple(betas), lr=lr, eps=eps, weight_decay=weight_decay)
        super().__init__(
            params, {"lr": float(lr), "betas": tuple(betas), "eps": float(eps), "weight_decay": float(weight_decay)}
        )

    def _step(self, parameters: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> None:
        steps, firsts, seconds = (state_of(self, parameters, name) for name in ("step", "exp_avg", "exp_avg_sq"))
        beta1, beta2 = group["betas"]
        torch._foreach_add_(steps, 1.0)
        torch._foreach_lerp_(firsts, gradients, 1 - beta1)
        torch._foreach_mul_(seconds, beta2)
        torch._foreach_addcmul_(seconds, gradients, gradients, value=1 - beta2)

        counts = [step.item() for step in steps]  # on the CPU, as in torch.optim: nothing waits for the GPU
        roots = torch._foreach_sqrt(torch._foreach_div(seconds, [1 - beta2**count for count in counts]))
        torch._foreach_add_(roots, group["eps"])
        updates = list(torch._foreach_div(firsts, [1 - beta1**count for count in counts]))
        torch._foreach_div_(updates, roots)
        if parameters[0].ndim > 1:
            torch._foreach_add_(updates, parameters, alpha=group["weight_decay"])
            weights, sizes = norms(parameters), norms(updates)
            ratios = torch.where((weights > 0) & (sizes > 0), weights / sizes, 1.0).to(parameters[0].dtype)
            torch._foreach_mul_(updates, list(ratios.unbind()))
        torch._foreach_add_(parameters, updates, alpha=-group["lr"])
