"""Synchronized batch normalization: statistics over the samples of all ranks, on GPUs and CPUs."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_core.errors import ConfigError
from ssl_losses.distributed import gather_with_gradient


def synchronise_batchnorm(model: nn.Module, device: torch.device) -> None:
    """Synchronize the statistics of every batch normalization in ``model`` (teachers included) over the ranks, in place.

    Modules keep their identity, parameters, buffers, names and hooks. Only their class changes: to ``torch.nn.SyncBatchNorm``
    on a GPU and to :class:`CPUSyncBatchNorm` on a CPU, which torch's class does not support. Raises a ConfigError for a
    subclass with its own forward pass, which would be lost.
    """
    for name, module in model.named_modules():
        if not isinstance(module, _BatchNorm) or isinstance(module, nn.SyncBatchNorm | CPUSyncBatchNorm):
            continue
        activated = hasattr(module, "drop") and hasattr(module, "act")  # timm's, with activation and dropout
        if type(module).forward is not _BatchNorm.forward and not activated:
            raise ConfigError(
                f"{name} is a {type(module).__name__} with its own forward pass, which cannot be synchronized; set it to false",
                key="hardware.sync_batchnorm",
                value=True,
            )
        if device.type == "cpu":
            module.__class__ = _ActivatedOnCPU if activated else CPUSyncBatchNorm
        else:
            module.__class__ = _Activated if activated else nn.SyncBatchNorm
            module.process_group = None  # type: ignore[assignment]  # all ranks


class CPUSyncBatchNorm(_BatchNorm):
    """``torch.nn.SyncBatchNorm`` for the CPU (Ioffe & Szegedy 2015, over the batch of all ranks).

    In training, each channel of an input ``(N, C, ...)`` is normalized by its mean and variance over the G samples of all
    ranks, which also update the running statistics. In evaluation it is ordinary batch normalization. Moments are computed in
    float32 at least; the output has the dtype of the input.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"expected an input (N, C, ...), got shape {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalized input, of the same shape and dtype."""
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        wide = input.to(torch.promote_types(input.dtype, torch.float32))
        mean, variance, count = moments_over_ranks(wide)
        self._follow(mean, variance * (count / (count - 1).clamp(min=1)))
        scale = torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        shape = (1, -1, *(1,) * (input.ndim - 2))
        output = (wide - mean.view(shape)) * scale.view(shape)
        return (output if self.bias is None else output + self.bias.view(shape)).to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        """Update the running statistics, if there are any."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        weight = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), weight)
        self.running_var.lerp_(unbiased_variance.to(self.running_var.dtype), weight)


class _AfterNorm:
    """Dropout and activation of timm's ``BatchNormAct2d``."""

    def forward(self, input: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(input)))  # type: ignore[attr-defined, misc]


class _ActivatedOnCPU(_AfterNorm, CPUSyncBatchNorm):
    pass


class _Activated(_AfterNorm, nn.SyncBatchNorm):
    pass


def moments_over_ranks(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and biased variance ``(C,)`` of ``(N, C, ...)`` over all ranks, and the number of values per channel.

    The moments of the ranks are combined around the common mean (Chan, Golub & LeVeque 1979): sums of squares would lose a
    small variance around a large mean in float32. One all-gather, with a gradient.
    """
    channels = x.shape[1]
    variance, mean = torch.var_mean(x, [0, *range(2, x.ndim)], correction=0)
    held = torch.cat([mean, variance, mean.new_tensor([x.numel() // channels])])
    means, variances, counts = gather_with_gradient(held[None]).split([channels, channels, 1], 1)
    count = counts.sum()
    shares = counts / count
    mean = (shares * means).sum(0)
    return mean, (shares * (variances + (means - mean).square())).sum(0), count
