"""Muon: orthogonalized momentum for the hidden matrices of a network, AdamW for its other parameters."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from ssl_core.hardware import has_bf16
from ssl_core.optimizers.foreach import check_options, evaluate_closure, state_of

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of Jordan's quintic iteration
STEPS = 5
SMALLEST_NORM = 1e-7
EPS = 1e-8  # of AdamW


class Muon(torch.optim.Optimizer):
    r"""Momentum orthogonalized by Newton-Schulz (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/).

    For a matrix W ``(A, B)`` (a convolution's ``(A, B₁, k, k)`` is flattened to ``(A, B₁ k k)``) with gradient G,
    momentum μ, weight decay λ and learning rate γ

    .. math::
        M ← μ M + (1 - μ) G, \qquad O = \operatorname{NS}(μ M + (1 - μ) G), \qquad
        W ← (1 - γ λ) W - 0.2 \sqrt{\max(A, B)} \, γ \, O

    where NS moves all singular values close to 1 (see :func:`newton_schulz`). The factor is that of Liu et al. 2025
    (section 2.2, https://arxiv.org/abs/2502.16982): steps are about as long as AdamW's, so that **all parameters share one
    learning rate and one weight decay, those of AdamW**. Jordan's factor is :math:`\sqrt{\max(1, A / B)}`, with a rate of
    0.02 and a separate rate for AdamW.

    Parameters
    ----------
    params : iterable of dict
        Groups with ``use_muon``: whether Muon or AdamW updates them; :func:`muon_groups` makes them for a module. Default:
        Muon for parameters of two or more dimensions.
    lr : float
        γ, as for AdamW.
    momentum : float
        μ of Muon, in [0, 1).
    weight_decay : float
        λ, decoupled.
    betas : tuple of float
        β₁ and β₂ of AdamW, each in [0, 1).

    Raises
    ------
    ValueError
        For a negative option, a momentum or β of 1 or more, or a vector in a group for Muon.

    Notes
    -----
    The iteration runs in bfloat16, as in Jordan's and torch's code; in float32 on hardware that only emulates bfloat16, which
    is slower; in float64 for float64 parameters. Matrices of the same shape are computed together.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        check_options("Muon", tuple(betas), **options)
        groups: list[dict[str, Any]] = []
        for each in params:
            group = {**each, "params": list(each["params"])} if isinstance(each, dict) else {"params": [each]}
            groups += [group] if "use_muon" in group else _split(group, lambda parameter: parameter.ndim > 1)
        for group in groups:
            vectors = [tuple(parameter.shape) for parameter in group["params"] if parameter.ndim < 2]
            if group["use_muon"] and vectors:
                raise ValueError(
                    f"Muon: a parameter of shape {vectors[0]} is not a matrix; put it in a group with use_muon=False"
                )
        super().__init__(groups, {name: float(value) for name, value in options.items()} | {"betas": tuple(betas)})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters that have a gradient; return the loss of the closure, if there is one."""
        loss = evaluate_closure(closure)
        for group in self.param_groups:
            together: dict[Any, list[Tensor]] = {}  # matrices of one shape, or all parameters for AdamW
            for parameter in group["params"]:
                if parameter.grad is not None:
                    key = (parameter.shape, parameter.device, parameter.dtype) if group["use_muon"] else None
                    together.setdefault(key, []).append(parameter)
            for parameters in together.values():
                update = self._muon if group["use_muon"] else self._adamw
                update(parameters, [parameter.grad for parameter in parameters], group)  # type: ignore[misc]
        return loss

    def _muon(self, parameters: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> None:
        """Update matrices of one shape, device and dtype."""
        momenta = state_of(self, parameters, "momentum_buffer")
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])
        stacked = torch.stack([update.flatten(1) for update in ahead])
        factor = 0.2 * math.sqrt(max(stacked.shape[1:]))
        updates = [update.view(parameters[0].shape) for update in newton_schulz(stacked).unbind()]
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(parameters, updates, alpha=-group["lr"] * factor)

    def _adamw(self, parameters: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> None:
        firsts, seconds, steps = (state_of(self, parameters, name) for name in ("exp_avg", "exp_avg_sq", "step"))
        beta1, beta2 = group["betas"]
        options = {"beta1": beta1, "beta2": beta2, "lr": group["lr"], "weight_decay": group["weight_decay"]}
        adamw(parameters, gradients, firsts, seconds, [], steps, amsgrad=False, eps=EPS, maximize=False, **options)


def newton_schulz(matrices: Tensor) -> Tensor:
    r"""Return matrices with the singular vectors of those given and singular values near 1 (between about 0.7 and 1.2).

    :math:`X ← X / ‖X‖_F`, then five times :math:`X ← a X + (b X X^T + c (X X^T)^2) X` with Jordan's coefficients. Small
    singular values (below about 1/1000 of the norm) stay smaller.

    Parameters
    ----------
    matrices : Tensor
        ``(M, A, B)``, floating-point.

    Returns
    -------
    Tensor
        ``(M, A, B)`` of the same dtype; computed in bfloat16 if the device multiplies in it, else in float32, or in float64
        where that is given.
    """
    a, b, c = COEFFICIENTS
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x = matrices if wide else matrices.mT  # the smaller of the two products
    dtype = torch.bfloat16 if has_bf16(matrices.device) else torch.float32
    x = x.to(torch.float64 if matrices.dtype == torch.float64 else dtype)
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=SMALLEST_NORM)
    for _ in range(STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.mT).to(matrices.dtype).contiguous()


def muon_groups(groups: Iterable[dict[str, Any]], module: nn.Module) -> list[dict[str, Any]]:
    """Split each group in two: hidden matrices, for Muon, and other parameters, for AdamW.

    As Jordan advises, AdamW updates all vectors; embeddings (of ``nn.Embedding``, and parameters of one row or one column,
    such as class tokens, positions and depthwise filters); and the first and the last matrix of the module in the order of
    ``module.parameters()``, which are the stem and the end of the head or of the projector.

    Parameters
    ----------
    groups : iterable of dict
        From :func:`~ssl_core.optimizers.param_groups.split_groups`. Those that are returned have ``use_muon``; none is empty.
    module : nn.Module
        The model that the parameters belong to.
    """
    embeddings = {each.weight for each in module.modules() if isinstance(each, nn.Embedding)}
    trained = [
        parameter for parameter in module.parameters() if parameter.requires_grad and parameter not in embeddings
    ]
    matrices = [parameter for parameter in trained if parameter.ndim > 1 and min(parameter.shape[:2]) > 1]
    hidden = set(matrices[1:-1])
    return [part for group in groups for part in _split(group, hidden.__contains__)]


def _split(group: dict[str, Any], by_muon: Callable[[Any], bool]) -> list[dict[str, Any]]:
    """Return one group, or two, with ``use_muon``."""
    parts = [
        (each, [parameter for parameter in group["params"] if by_muon(parameter) is each]) for each in (True, False)
    ]
    return [{**group, "params": parameters, "use_muon": each} for each, parameters in parts if parameters]
