"""The rates of a step: what is scheduled of an optimizer."""

import torch


def set_rates(optimizer: torch.optim.Optimizer, lr_factor: float, weight_decay_factor: float = 1.0) -> None:
    """Give each group its learning rate and weight decay of this step: a factor times what it began with.

    What it began with is kept in the group, as ``initial_lr`` (so do torch's schedulers) and ``initial_weight_decay``; in
    an optimizer that has not got them yet it is what stands there now. A group that is not decayed stays so.

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
    for group in optimizer.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * lr_factor
        if "weight_decay" in group:
            began = group.setdefault("initial_weight_decay", group["weight_decay"])
            group["weight_decay"] = began * weight_decay_factor
