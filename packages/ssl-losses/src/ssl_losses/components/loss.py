"""Base class of the losses with options."""

from typing import Any

from torch import nn


class Loss(nn.Module):
    """A loss with options, which are attributes: stored, printed, and passed to the function in each call.

    A subclass lists its options and their defaults in the signature of its constructor::

        class NTXentLoss(Loss):
            def __init__(self, temperature: float = 0.1) -> None:
                check_temperature(temperature)
                super().__init__(temperature=temperature)

            def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
                return nt_xent(z1, z2, **self.options)
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.store(**options)

    def store(self, **options: Any) -> None:
        """Store the options of the function, in place of those that were stored before."""
        self._option_names = tuple(options)
        for name, value in options.items():
            setattr(self, name, value)

    @property
    def options(self) -> dict[str, Any]:
        """The options by name, with their present values: a schedule may assign to the attributes."""
        return {name: getattr(self, name) for name in self._option_names}

    def options_with(self, **arguments: Any) -> dict[str, Any]:
        """Return the options, replaced by the arguments of a call that are not None."""
        return self.options | {name: value for name, value in arguments.items() if value is not None}

    def extra_repr(self) -> str:
        """Return the options, and the shapes of what the loss itself keeps."""
        kept = [*self.named_parameters(recurse=False), *self.named_buffers(recurse=False)]
        shapes = {name: tuple(tensor.shape) for name, tensor in kept if tensor.ndim}
        return ", ".join(f"{name}={value!r}" for name, value in (self.options | shapes).items())
