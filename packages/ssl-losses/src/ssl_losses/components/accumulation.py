"""Gradient accumulation: several micro-batches update the state of a loss as one large batch does.

Written by hand because libraries accumulate gradients only: a queue or a centre would move with each micro-batch.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

Change = tuple[Tensor, ...]


class AccumulatedState(nn.Module):
    """Base class of a module with a state that each batch updates: a queue, a centre, a covariance.

    In training mode, ``forward`` computes with the present state and then calls :meth:`change_state`, which updates it. Inside
    :func:`accumulate_updates` the changes of the micro-batches are merged first, and applied once. A subclass implements
    :meth:`apply_change`, and overrides :meth:`merge_changes` if changes are not merged by their sum.
    """

    def __init__(self) -> None:
        super().__init__()
        self._accumulates = False
        self._call = 0  # calls of change_state in this micro-batch
        self._pending: list[Change] = []  # of the micro-batches so far, one for each call in a micro-batch

    def change_state(self, *change: Tensor) -> None:
        """Apply the update of a batch, or keep it for the end of the optimizer step.

        Parameters
        ----------
        *change : Tensor
            What :meth:`apply_change` takes: of the samples of all ranks, without a graph.
        """
        if not self._accumulates:
            self.apply_change(*change)
            return
        if self._call == len(self._pending):
            self._pending.append(change)
        else:
            self._pending[self._call] = self.merge_changes(self._pending[self._call], change)
        self._call += 1

    def merge_changes(self, first: Change, second: Change) -> Change:
        """Return the change of the batch that holds the samples of both: here the sums, element by element."""
        return tuple(a + b for a, b in zip(first, second))

    def apply_change(self, *change: Tensor) -> None:
        """Update the state."""
        raise NotImplementedError


@contextmanager
def accumulate_updates(module: nn.Module, last: bool) -> Iterator[None]:
    """Collect the state updates of the losses in ``module`` over micro-batches; apply them after the last one.

    Their states then move as with one batch that holds the samples of all micro-batches, in this order: once, by their mean or
    by all of their rows. Until then every micro-batch is computed with the state before the first one.

    Parameters
    ----------
    module : nn.Module
        A loss, or a model that contains losses.
    last : bool
        Whether this is the last micro-batch before the optimizer steps. A ``state_dict`` that is saved before it does not
        contain the updates that are kept.

    Examples
    --------
    >>> import torch
    >>> from ssl_losses import DINOLoss
    >>> large, small = DINOLoss(num_prototypes=4), DINOLoss(num_prototypes=4)
    >>> student, teacher = torch.randn(2, 2, 8, 4)  # two views of 8 samples each
    >>> loss = large(student, teacher)
    >>> for k in range(4):
    ...     part = slice(2 * k, 2 * k + 2)
    ...     with accumulate_updates(small, last=k == 3):
    ...         loss = small(student[:, part], teacher[:, part]) / 4  # and loss.backward()
    >>> torch.allclose(small.center, large.center)
    True
    """
    states = [each for each in module.modules() if isinstance(each, AccumulatedState)]
    for state in states:
        state._accumulates, state._call = True, 0
    finished = False
    try:
        yield
        finished = True
    finally:
        for state in states:
            state._accumulates = False
            if finished and last:
                for change in state._pending:
                    state.apply_change(*change)
            if last or not finished:
                state._pending = []
