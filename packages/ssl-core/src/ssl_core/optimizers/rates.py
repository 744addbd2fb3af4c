"""The rates of a step: what is scheduled of an optimizer."""

import torch


def set_rates(optimizer: torch.optim.Optimizer, lr_factor: float, weight_decay_factor: float = 1.0) -> None:
    """Give each group its learning rate and weight decay of this step: a factor times what it began with.

    The initial values are kept in the group by :func:`keep_initial_rates`. A group that is not decayed stays so.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Of any kind; a ``weight_decay`` is set where there is one.
    lr_factor, weight_decay_factor : float
        Of this step.

    Examples
    --------
    >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.4, weight_decay=0.1)
    >>> for step in range(2):
    ...     set_rates(optimizer, lr_factor=0.5, weight_decay_factor=2.0)
    >>> optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["weight_decay"]
    (0.2, 0.2)
    """
    keep_initial_rates(optimizer)
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * lr_factor
        if "weight_decay" in group:
            group["weight_decay"] = group["initial_weight_decay"] * weight_decay_factor


def keep_initial_rates(optimizer: torch.optim.Optimizer) -> None:
    """Add ``initial_lr`` (as torch's schedulers do) and ``initial_weight_decay`` to each group that lacks them.

    The loop calls it on a new optimizer, of whichever class, before a checkpoint is loaded into it.
    """
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
        if "weight_decay" in group:
            group.setdefault("initial_weight_decay", group["weight_decay"])
