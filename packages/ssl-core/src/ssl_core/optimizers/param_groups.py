"""Which parameters are decayed, and how fast each layer learns."""

from typing import Any

from torch import nn

from ssl_core.optimizers.layer_decay import layers_above


def parameter_groups(
    module: nn.Module, weight_decay: float, lr: float | None = None, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """Return the trainable parameters in groups: decayed and not; with ``layer_decay`` two for each layer of the backbone.

    Not decayed are biases and normalisation parameters, as is the field's practice (Goyal et al. 2017; SimCLR, Chen et
    al. 2020): a penalty on a scale that the next layer can undo regularises nothing. They are told by their shape: a
    parameter of at most one dimension is one of them. So is what a submodule names in ``no_weight_decay()``, as timm's
    do (their class tokens and positions). A group that would be empty is left out.

    With ``layer_decay`` d below 1 a parameter of ``module.backbone`` with n layers above it learns at d^n times the rate
    of what is put on the backbone (BEiT, Bao et al. 2022, https://arxiv.org/abs/2106.08254; MAE, He et al. 2022); see
    :func:`~ssl_core.optimizers.layer_decay.layers_above`.

    Parameters
    ----------
    module : nn.Module
        Parameters with ``requires_grad=False`` (a teacher's, a frozen backbone's) are in no group; shared ones are
        there once. The order in a group is that of ``module.parameters()``.
    weight_decay : float
        Of the decayed groups; the others' is 0.
    lr : float, optional
        Learning rate above the backbone. Default: left to the optimizer, which with ``layer_decay`` cannot be.
    layer_decay : float
        d, in (0, 1]. At 1 all layers learn alike.

    Returns
    -------
    list of dict
        ``{"params": [...], "weight_decay": float}`` each, with ``"lr"`` if it is given: what every ``torch.optim`` class
        takes. From the head down to the stem.

    Raises
    ------
    ValueError
        With ``layer_decay``: if the module has no ``backbone``, or one that does not say what its layers are.

    Examples
    --------
    >>> [(len(group["params"]), group["weight_decay"]) for group in parameter_groups(nn.Linear(3, 2), 1e-4)]
    [(1, 0.0001), (1, 0.0)]
    """
    above: dict[str, int] = {}
    if layer_decay != 1:
        if lr is None:
            raise ValueError(f"layer_decay={layer_decay}: expected an lr with it, of which the groups' are shares")
        backbone = getattr(module, "backbone", None)
        if not isinstance(backbone, nn.Module):
            raise ValueError(f"optim.layer_decay={layer_decay}: {type(module).__name__} has no module called backbone")
        above = {f"backbone.{name}": number for name, number in layers_above(backbone).items()}
    spared = _spared(module)
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            key = above.get(name, 0), parameter.ndim <= 1 or name in spared
            groups.setdefault(key, []).append(parameter)
    return [
        {"params": groups[number, is_spared], "weight_decay": 0.0 if is_spared else float(weight_decay)}
        | ({} if lr is None else {"lr": float(lr * layer_decay**number)})
        for number, is_spared in sorted(groups)
    ]


def _spared(module: nn.Module) -> set[str]:
    """Return the names that submodules give in ``no_weight_decay()``."""
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, submodule in module.named_modules()
        if hasattr(submodule, "no_weight_decay")
        for name in submodule.no_weight_decay()
    }
