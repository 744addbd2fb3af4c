"""InfoNCE with a queue: the contrastive loss of MoCo."""

from torch import Tensor

from ssl_losses.checks import check_embeddings, check_temperature
from ssl_losses.components.loss import Loss
from ssl_losses.components.queue import Queue, problem_with_queue
from ssl_losses.distributed import mean_over_ranks
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.ops.softplus import softplus
from ssl_losses.precision import widened, without_autocast
from ssl_losses.similarity.logsumexp import logsumexp


@without_autocast
def info_nce(query: Tensor, key: Tensor, queue: Tensor, temperature: float = 0.07) -> Tensor:
    r"""Return the InfoNCE loss with a queue of negatives (MoCo, He, Fan, Wu, Xie & Girshick 2020,
    https://arxiv.org/abs/1911.05722; InfoNCE, van den Oord, Li & Vinyals 2018, https://arxiv.org/abs/1807.03748).

    .. math::
        -\frac1G \sum_i \log \frac{\exp(q_i \cdot k_i / \tau)}{\exp(q_i \cdot k_i / \tau)
        + \sum_j \exp(q_i \cdot n_j / \tau)}

    with queries q, keys k and the rows n of the queue normalised. The similarities to the queue are computed in tiles and
    recomputed in the backward pass: memory grows with (N + K)·D, not with N·K.

    Parameters
    ----------
    query : Tensor
        ``(N, D)`` float, one view through the encoder.
    key : Tensor
        ``(N, D)`` float, the other view through the teacher (the momentum encoder). It counts as a constant.
    queue : Tensor
        ``(K, D)`` float, the same on all ranks: keys of earlier batches, none of this one (a positive would be among the
        negatives). It counts as a constant. Without rows, ``(0, D)``, there is no negative and the loss is 0.
    temperature : float
        τ, at least 1e-6. The paper: 0.07; MoCo v2: 0.2.

    Returns
    -------
    Tensor
        Scalar, float32 or float64, not negative: the mean over the global batch. A zero row has similarity 0 to all.

    Examples
    --------
    >>> import torch
    >>> query, queue = torch.eye(4)[:2], torch.eye(4)[2:]
    >>> round(info_nce(query, query, queue, temperature=1.0).item(), 4)  # log(1 + 2 / e)
    0.5514
    """
    check_temperature(temperature)
    check_embeddings(query, key, problem=problem_with_queue(queue, query))
    scale = 1 / temperature
    q, k, rows = (unit_rows(z) for z in widened((query, key.detach(), queue.detach())))
    negatives = logsumexp(q, rows, scale)
    positives = (q * k).sum(1) * scale
    return mean_over_ranks(softplus(negatives - positives).mean())


class InfoNCELoss(Loss):
    """:func:`info_nce` as a module that keeps the queue.

    ``forward`` computes with the keys of earlier batches and then, in training mode, puts the keys of this batch (of all
    ranks) into the queue. The queue starts empty, so that the first step has no negative: its loss and gradient are 0; the
    authors' code starts with random rows instead.

    Parameters
    ----------
    temperature : float
        As in :func:`info_nce`.
    queue_size : int
        Keys to keep; the paper's 65536. Below the number of images: otherwise the queue holds an image's own earlier key.
    """

    def __init__(self, temperature: float = 0.07, queue_size: int = 65536) -> None:
        check_temperature(temperature)
        super().__init__(temperature=temperature)
        self.queue = Queue(queue_size)

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        """Return the loss of queries and keys ``(N, D)``; in training mode, then put the keys into the queue."""
        loss = info_nce(query, key, self.queue.contents(query), **self.options)
        if self.training:
            self.queue.enqueue(key)
        return loss

    def update(self, key: Tensor) -> None:
        """Put keys ``(N, D)``, those of all ranks, into the queue; ``forward`` does so by itself."""
        check_embeddings(key, views=1)
        self.queue.enqueue(key)
