"""Which parameters are decayed."""

from typing import Any

from torch import nn


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the trainable parameters in two groups: decayed, and not.

    Not decayed are biases and normalisation parameters, as is the field's practice (Goyal et al. 2017; SimCLR, Chen et
    al. 2020): a penalty on a scale that the next layer can undo regularises nothing. They are told by their shape: a
    parameter of at most one dimension is one of them. A group that would be empty is left out.

    Parameters
    ----------
    module : nn.Module
        Parameters with ``requires_grad=False`` (a teacher's, a frozen backbone's) are in neither group; shared ones are
        there once. The order is that of ``module.parameters()``.
    weight_decay : float
        Of the decayed group; the other's is 0.

    Returns
    -------
    list of dict
        ``{"params": [...], "weight_decay": float}`` each: what every ``torch.optim`` class takes.

    Examples
    --------
    >>> [(len(group["params"]), group["weight_decay"]) for group in parameter_groups(nn.Linear(3, 2), 1e-4)]
    [(1, 0.0001), (1, 0.0)]
    """
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in trainable if parameter.ndim > 1]
    spared = [parameter for parameter in trainable if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": float(weight_decay)}, {"params": spared, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
