"""Precision of a run: autocast, loss scaling, gradient norm and clipping, the optimizer step."""

import contextlib

import torch
from torch import Tensor, nn

from ssl_core.distributed.fsdp import full_tensor
from ssl_core.hardware import has_bf16
from ssl_core.optimizers.foreach import norms


class Precision:
    """fp32, bf16, fp16 or fp64 on one device.

    Parameters
    ----------
    name : {"auto", "fp32", "bf16", "fp16", "fp64"}
        ``hardware.precision``; ``auto`` is bf16 if the hardware computes in it, otherwise fp32. fp64 is for exact comparisons:
        weights, inputs and probes are float64.
    device : torch.device
        Device of the run.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.device = device
        self.name = ("bf16" if has_bf16(device) else "fp32") if name == "auto" else name
        self.dtype = torch.float64 if self.name == "fp64" else None  # of weights and inputs; None: unchanged
        self._autocast = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.name)
        self._scaler = torch.amp.GradScaler(device.type, enabled=self.name == "fp16")

    def place(self, module: nn.Module) -> None:
        """Move a module to the device, in the memory format channels_last."""
        module.to(self.device, self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def autocast(self) -> contextlib.AbstractContextManager:
        """Return the context in which forward passes run."""
        if self._autocast is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self._autocast)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of ``loss``, scaled for fp16."""
        self.scale(loss).backward()

    def scale(self, loss: Tensor) -> Tensor:
        """Return the loss, scaled for fp16."""
        return self._scaler.scale(loss)

    def gradient_norm(self, optimizer: torch.optim.Optimizer) -> Tensor:
        """Unscale the gradients and return their global norm."""
        self._scaler.unscale_(optimizer)
        gradients = [p.grad for p in _with_gradient(optimizer) if p.grad is not None]
        if not gradients:  # everything is frozen
            return torch.zeros((), device=self.device)
        # As get_total_norm, without sorting tensors by device and dtype, which takes half of its time
        return full_tensor(torch.linalg.vector_norm(norms(gradients)))

    def clip(self, optimizer: torch.optim.Optimizer, norm: Tensor, max_norm: float | None) -> None:
        """Clip gradients of global norm ``norm`` to ``max_norm``, unless that is None."""
        if max_norm is not None:
            nn.utils.clip_grads_with_norm_(_with_gradient(optimizer), max_norm, norm)

    def step(self, optimizer: torch.optim.Optimizer) -> bool:
        """Step the optimizer and clear the gradients; return False if the scaler skipped the step (fp16 overflow)."""
        before = self._scaler.get_scale() if self._scaler.is_enabled() else 1.0
        self._scaler.step(optimizer)
        self._scaler.update()
        optimizer.zero_grad(set_to_none=True)
        return not self._scaler.is_enabled() or self._scaler.get_scale() >= before

    @property
    def skips_overflows(self) -> bool:
        """Whether the scaler skips steps with an overflow in a gradient (fp16)."""
        return self._scaler.is_enabled()

    def state_dict(self) -> dict:
        """Return the scaler's state (empty unless fp16)."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict) -> None:
        """Load the scaler's state."""
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(state)


def _with_gradient(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
