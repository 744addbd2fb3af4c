"""GradCache: the gradient of a contrastive batch that is larger than memory, in two passes over its chunks.

Written by hand because ``torch.utils.checkpoint`` would update running statistics twice, and call ``DistributedDataParallel``
inside of its own backward pass.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


def grad_cache(
    encoder: nn.Module | Sequence[nn.Module],
    views: Sequence[Tensor],
    criterion: Callable[..., Tensor],
    chunk_size: int,
    scale: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    r"""Accumulate the gradient of ``criterion(encoder(views[0]), encoder(views[1]), ...)`` chunk by chunk (GradCache,
    Gao, Zhang, Han & Callan 2021, https://arxiv.org/abs/2101.06983).

    .. math::
        \frac{\partial L}{\partial \theta} = \sum_{\text{chunks } c} \frac{\partial L}{\partial z_c}
        \frac{\partial z_c}{\partial \theta}

    The first pass embeds the chunks without a graph; the loss of all embeddings gives the gradient of each; the second pass
    embeds each chunk again and backpropagates its gradient. The activations of one chunk are in memory at a time, for one more
    forward pass. The second pass repeats the random numbers (dropout) of the first, and buffers are updated once.

    The gradient is exact for encoders that treat each sample by itself. Batch normalisation takes its statistics from a
    chunk instead of the batch, as it does from a rank.

    Parameters
    ----------
    encoder : Module or sequence of Module
        One for all views, or one for each, as for images and texts. It maps a chunk ``(n, ...)`` to embeddings ``(n, D)``.
        Wrapped in ``DistributedDataParallel``, it averages the gradients once, with the last chunk.
    views : sequence of Tensor
        A tensor ``(N, ...)`` for each view.
    criterion : Callable
        Takes one ``(N, D)`` for each view and returns a scalar: a loss of this package (across ranks it is that of the
        global batch) or a function that calls it with further arguments. Its own parameters get gradients too.
    chunk_size : int
        Number of samples to embed at a time.
    scale : Callable, optional
        Applied to the loss before the backward pass, such as ``scaler.scale`` of a ``torch.amp.GradScaler``.

    Returns
    -------
    Tensor
        The loss, detached: the gradients are already in ``.grad``.

    Raises
    ------
    ValueError
        For a chunk size below 1, no view, or a sequence of encoders that is not as long as that of views.

    Examples
    --------
    >>> from ssl_losses import nt_xent
    >>> encoder = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    >>> x1, x2 = torch.randn(2, 32, 3, 2, 2)
    >>> loss = grad_cache(encoder, [x1, x2], nt_xent, chunk_size=8)
    >>> in_chunks = encoder[1].weight.grad.clone()
    >>> encoder.zero_grad()
    >>> nt_xent(encoder(x1), encoder(x2)).backward()
    >>> torch.allclose(in_chunks, encoder[1].weight.grad, atol=1e-6)
    True
    """
    encoders = [encoder] * len(views) if isinstance(encoder, nn.Module) else list(encoder)
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, got {chunk_size}; take what fits into memory")
    if not views or len(encoders) != len(views):
        raise ValueError(
            f"expected an encoder for each view, got {len(encoders)} encoders and {len(views)} views; "
            "a single module serves all views"
        )
    chunks = [_Chunk(e, view, x) for view, e in enumerate(encoders) for x in views[view].split(chunk_size)]
    with _buffers_put_back(encoders), torch.no_grad():
        embedded = [chunk.embed_first() for chunk in chunks]
    embeddings = [
        torch.cat([z for chunk, z in zip(chunks, embedded) if chunk.view == view]).requires_grad_()
        for view in range(len(views))
    ]
    loss = criterion(*embeddings)
    (scale(loss) if scale else loss).backward()

    gradients = [z.grad for z in embeddings]
    pieces = [iter(()) if gradient is None else iter(gradient.split(chunk_size)) for gradient in gradients]
    chunks = [chunk for chunk in chunks if gradients[chunk.view] is not None]  # a target has none
    last = {chunk.encoder: chunk for chunk in chunks}  # of each encoder
    with _random_numbers_put_back(views):
        for chunk in chunks:
            chunk.send_back(next(pieces[chunk.view]), averaging=chunk is last[chunk.encoder])
    return loss.detach()


@dataclass(eq=False)
class _Chunk:
    """A few samples of a view, and the random numbers that they were embedded with."""

    encoder: nn.Module
    view: int
    inputs: Tensor
    random_state: tuple[Tensor, Tensor | None] | None = None

    def embed_first(self) -> Tensor:
        """Return the embeddings; remember the state of the random generators before."""
        self.random_state = _random_state(self.inputs.device)
        with _without_averaging(self.encoder):
            return self.encoder(self.inputs)

    def send_back(self, gradient: Tensor, averaging: bool) -> None:
        """Embed again with the same random numbers, and send the gradient of the embeddings to the parameters."""
        assert self.random_state is not None
        _set_random_state(self.inputs.device, self.random_state)
        with nullcontext() if averaging else _without_averaging(self.encoder):
            self.encoder(self.inputs).backward(gradient)


def _without_averaging(encoder: nn.Module) -> AbstractContextManager[None]:
    """Return a context in which an encoder that averages gradients over ranks only adds them up."""
    return encoder.no_sync() if isinstance(encoder, DistributedDataParallel) else nullcontext()


@contextmanager
def _buffers_put_back(encoders: Sequence[nn.Module]) -> Iterator[None]:
    """Leave the buffers as they were: running statistics must see the batch once."""
    buffers = [buffer for encoder in dict.fromkeys(encoders) for buffer in encoder.buffers()]
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, old in zip(buffers, before):
                buffer.copy_(old)


@contextmanager
def _random_numbers_put_back(views: Sequence[Tensor]) -> Iterator[None]:
    """Leave the random generators as they were: what comes next must not depend on a replay."""
    devices = {view.device for view in views}
    before = {device: _random_state(device) for device in devices}
    try:
        yield
    finally:
        for device, state in before.items():
            _set_random_state(device, state)


def _random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Return the state of the CPU's random generator, and of the device's."""
    return torch.get_rng_state(), None if device.type == "cpu" else torch.get_device_module(device).get_rng_state(
        device
    )


def _set_random_state(device: torch.device, state: tuple[Tensor, Tensor | None]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.get_device_module(device).set_rng_state(state[1], device)
