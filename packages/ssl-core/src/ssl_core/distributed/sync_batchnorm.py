"""Batch normalisation by the statistics of the whole batch, wherever its samples are."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_core.errors import ConfigError
from ssl_losses.distributed import gather_with_gradient


def synchronise_batchnorm(model: nn.Module, device: torch.device) -> None:
    """Let every batch normalisation in ``model`` take its statistics from all ranks in training.

    Modules stay the objects that they are, with their parameters, buffers, names and hooks: only their class changes, to
    ``torch.nn.SyncBatchNorm`` on a GPU and to :class:`CPUSyncBatchNorm` on a processor, which torch's refuses.

    Parameters
    ----------
    model : nn.Module
        Changed in place, teachers included.
    device : torch.device
        Where it computes.

    Raises
    ------
    ConfigError
        For a batch normalisation with a forward pass of its own, which would be lost.
    """
    for name, module in model.named_modules():
        if not isinstance(module, _BatchNorm) or isinstance(module, nn.SyncBatchNorm | CPUSyncBatchNorm):
            continue
        activated = hasattr(module, "drop") and hasattr(module, "act")  # timm's, with what comes after it
        if type(module).forward is not _BatchNorm.forward and not activated:
            raise ConfigError(
                f"hardware.sync_batchnorm=True: {name} is a {type(module).__name__} with a forward pass of its own, which "
                "cannot be told to ask the other ranks; hardware.sync_batchnorm=False keeps it as it is"
            )
        if device.type == "cpu":
            module.__class__ = _ActivatedOnCPU if activated else CPUSyncBatchNorm
        else:
            module.__class__ = _Activated if activated else nn.SyncBatchNorm
            module.process_group = None  # type: ignore[assignment]  # all ranks


class CPUSyncBatchNorm(_BatchNorm):
    """What ``torch.nn.SyncBatchNorm`` computes (Ioffe & Szegedy 2015, over the batch of all ranks), on a processor.

    In training, of an input ``(N, C, ...)`` on each rank, normalises each channel by its mean and variance over the G
    samples of all ranks, and moves the running statistics by these; in evaluation it is the ordinary one. Moments are in
    float32 at least; the output has the input's dtype.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"expected an input (N, C, ...), got shape {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised input."""
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
        """Move the running statistics, where there are any."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        weight = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), weight)
        self.running_var.lerp_(unbiased_variance.to(self.running_var.dtype), weight)


class _AfterNorm:
    """The dropout and the activation that timm's ``BatchNormAct2d`` holds."""

    def forward(self, input: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(input)))  # type: ignore[attr-defined, misc]


class _ActivatedOnCPU(_AfterNorm, CPUSyncBatchNorm):
    pass


class _Activated(_AfterNorm, nn.SyncBatchNorm):
    pass


def moments_over_ranks(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and biased variance ``(C,)`` of ``(N, C, ...)`` over all ranks, and how many values they are of.

    The moments of the ranks are put together by their distance from the common mean (Chan, Golub & LeVeque 1979): sums of
    squares would lose in float32 what a mean far from zero leaves of a small variance. One gathering, with a gradient.
    """
    channels = x.shape[1]
    variance, mean = torch.var_mean(x, [0, *range(2, x.ndim)], correction=0)
    held = torch.cat([mean, variance, mean.new_tensor([x.numel() // channels])])
    means, variances, counts = gather_with_gradient(held[None]).split([channels, channels, 1], 1)
    count = counts.sum()
    shares = counts / count
    mean = (shares * means).sum(0)
    return mean, (shares * (variances + (means - mean).square())).sum(0), count
