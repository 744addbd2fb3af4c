"""What LAMB and LARS have in common: their way through the parameters."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ssl_core.optimizers.foreach import evaluate_closure, group_tensors


class LayerWise(torch.optim.Optimizer):
    """An optimizer that adapts each layer by its norms: subclasses write :meth:`_step`, for some parameters at once."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move the parameters that have a gradient; return the closure's loss, if there is a closure."""
        loss = evaluate_closure(closure)
        for group in self.param_groups:
            for parameters in group_tensors(group["params"]):
                self._step(parameters, group)
        return loss

    def _step(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """Move parameters of one device, one dtype, all adapted or none."""
        raise NotImplementedError
