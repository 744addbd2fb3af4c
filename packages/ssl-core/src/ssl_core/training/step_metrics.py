"""The metrics of a training step."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ssl_core.distributed.ranks import Distributed
from ssl_core.training.loss_module import total_loss


def step_metrics(
    terms: Mapping[str, Tensor], probes: Mapping[str, Tensor], norm: Tensor, groups: list[Any], distributed: Distributed
) -> dict[str, float]:
    """Return the ``train/...`` metrics of an optimizer step, means over the ranks. It waits for the device.

    Parameters
    ----------
    terms
        The terms of the loss by name, scalars. ``train/loss`` is their sum; several terms are logged one by one, too.
    probes
        Loss of each online probe by name.
    norm
        Norm of the gradients before clipping.
    groups
        Parameter groups of the optimizer, for learning rate and weight decay.
    distributed
        The ranks.
    """
    values = {"train/loss": total_loss(terms).detach(), "train/grad_norm": norm}
    if len(terms) > 1:
        values |= {f"train/{name}": term.detach() for name, term in terms.items()}
    values |= {f"train/probe_{name}_loss": value for name, value in probes.items()}
    means = distributed.mean(torch.stack([value.double() for value in values.values()])).tolist()
    weight_decay = max(group.get("weight_decay", 0.0) for group in groups)
    return dict(zip(values, means)) | {"train/lr": groups[0]["lr"], "train/weight_decay": weight_decay}
