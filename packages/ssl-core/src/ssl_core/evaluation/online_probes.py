"""Online probes: linear classifiers on detached features, trained while the model trains.

They have their own weights and optimizer, and no gradient of theirs reaches the model.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core.distributed.ranks import Distributed


class OnlineProbes:
    """One linear probe for each watched representation.

    A probe normalizes its input (layer normalization without parameters), so that one learning rate fits features of any
    scale.

    Parameters
    ----------
    widths : dict
        Name of a representation and its width D.
    num_classes : int
        K; without classes there are no probes.
    lr : float
        Learning rate of AdamW, constant.
    device, dtype
        Device and dtype of the probes. Default: float32.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        num_classes: int,
        lr: float,
        device: torch.device,
        dtype: torch.dtype | None = None,
    ) -> None:
        self._dtype = dtype or torch.float32
        names = widths if num_classes > 1 else {}
        probes = {
            name: nn.Sequential(
                nn.LayerNorm(widths[name], elementwise_affine=False), nn.Linear(widths[name], num_classes)
            )
            for name in names
        }
        self.classifiers = nn.ModuleDict(probes).to(device, self._dtype)
        self.optimizer = torch.optim.AdamW(self.classifiers.parameters(), lr=lr, weight_decay=0.0) if names else None
        self._seen: dict[str, list[Tensor]] = {name: [] for name in names}

    def __contains__(self, name: str) -> bool:
        return name in self._seen

    def watch_modules(self, model: nn.Module) -> None:
        """Keep the outputs in training of the modules that have the name of a representation, e.g. ``backbone``.

        They are detached, and kept until the next :meth:`train_step`.
        """
        for name in self._seen:
            module = getattr(model, name, None)
            if isinstance(module, nn.Module):
                module.register_forward_hook(lambda module, _, output, name=name: self.observe(name, output))

    def observe(self, name: str, output: Tensor) -> None:
        """Keep features ``(N, D)`` of the batch, detached, until the next :meth:`train_step`.

        A method that does not call ``forward`` of the module, and so is not watched, calls it.
        """
        # Not module.training: a frozen backbone is in evaluation mode, and watched all the same
        if name in self._seen and torch.is_grad_enabled():
            self._seen[name].append(output.detach())

    def forget(self) -> None:
        """Drop the features since the last :meth:`train_step`."""
        for seen in self._seen.values():
            seen.clear()

    def join(self, pieces: int) -> None:
        """Concatenate each ``pieces`` outputs: a batch that was computed in pieces counts as one."""
        for name, seen in self._seen.items():
            self._seen[name] = [torch.cat(seen[start : start + pieces]) for start in range(0, len(seen), pieces)]

    def scores(self, name: str, features: Tensor) -> Tensor:
        """Return the probe's logits, ``(N, K)``, for features ``(N, D)``; no gradient reaches the features."""
        with torch.autocast(features.device.type, enabled=False):
            return self.classifiers[name](features.detach().to(self._dtype))

    def train_step(self, labels: Tensor, distributed: Distributed) -> dict[str, Tensor]:
        """Train the probes for one step on the features since the last one; return their losses, on the device.

        ``labels`` are those of the batch, ``(N,) int64``; several views of it are several groups of N features.
        Samples without a label (-1) are left out.
        """
        losses = {}
        for name, seen in self._seen.items():
            if seen and all(len(features) % len(labels) == 0 for features in seen):
                features = torch.cat(seen)
                repeated = labels.repeat(len(features) // len(labels))
                total = F.cross_entropy(self.scores(name, features), repeated, ignore_index=-1, reduction="sum")
                losses[name] = total / (repeated >= 0).sum().clamp(min=1)
            seen.clear()
        if losses and self.optimizer is not None:
            torch.stack(list(losses.values())).sum().backward()
            distributed.average_gradients(self.classifiers.parameters())
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        return {name: loss.detach() for name, loss in losses.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return weights and optimizer."""
        optimizer = {} if self.optimizer is None else self.optimizer.state_dict()
        return {"classifiers": self.classifiers.state_dict(), "optimizer": optimizer}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore weights and optimizer."""
        self.classifiers.load_state_dict(state["classifiers"])
        if self.optimizer is not None:
            self.optimizer.load_state_dict(state["optimizer"])
