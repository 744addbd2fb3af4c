"""NNCLR: a contrastive loss whose positives are nearest neighbours from a support set."""

from torch import Tensor

from ssl_losses.checks import check_embeddings, check_temperature
from ssl_losses.components.loss import Loss
from ssl_losses.components.queue import Queue, problem_with_queue
from ssl_losses.distributed import mean_over_ranks
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.precision import widened, without_autocast
from ssl_losses.similarity.nearest import neighbours
from ssl_losses.similarity.pair_cross_entropy import crossed_matching


@without_autocast
def nnclr(p1: Tensor, p2: Tensor, z1: Tensor, z2: Tensor, support: Tensor, temperature: float = 0.1) -> Tensor:
    r"""Return the NNCLR loss (Dwibedi, Aytar, Tompson, Sermanet & Zisserman 2021, https://arxiv.org/abs/2104.14548).

    .. math::
        \frac12 \left( L(\mathrm{NN}(z_1), p_2) + L(\mathrm{NN}(z_2), p_1) \right), \qquad
        L(n, p) = -\frac1G \sum_i \log \frac{\exp(n_i \cdot p_i / \tau)}{\sum_k \exp(n_i \cdot p_k / \tau)}

    with all rows normalised; NN(z) is the row of the support set with the largest cosine similarity to z, and k runs over
    the global batch. The similarities, to the support set and in the batch, are computed in tiles: memory grows with
    (N + K)·D.

    Parameters
    ----------
    p1, p2 : Tensor
        ``(N, D)`` float, the prediction of each view's projection. At least 2 samples in the global batch.
    z1, z2 : Tensor
        ``(N, D)`` float, the projections. They only choose the neighbours, and get no gradient.
    support : Tensor
        ``(K, D)`` float, the same on all ranks: projections of earlier batches. It must not hold this batch, whose nearest
        neighbours would be the samples themselves. Without rows, ``(0, D)``, there is no neighbour and the loss is 0.
    temperature : float
        τ, at least 1e-6; the paper's 0.1.

    Returns
    -------
    Tensor
        Scalar, float32 or float64, not negative: the mean over the global batch. A zero row has similarity 0 to all.

    Examples
    --------
    >>> import torch
    >>> z = torch.eye(4)
    >>> round(nnclr(z, z, z, z, support=2 * z, temperature=1.0).item(), 4)  # neighbours as z: log(1 + 3 / e)
    0.7437
    """
    check_temperature(temperature)
    check_embeddings(p1, p2, z1, z2, views=4, samples=2, problem=problem_with_queue(support, p1))
    p1, p2, z1, z2, rows = (unit_rows(x) for x in widened((p1, p2, z1.detach(), z2.detach(), support.detach())))
    if len(rows) == 0:
        return mean_over_ranks(0 * (p1 + p2).sum())  # with a graph, so that the step is like every other one
    return crossed_matching([neighbours(z, rows) for z in (z1, z2)], (p1, p2), 1 / temperature)


class NNCLRLoss(Loss):
    """:func:`nnclr` as a module that keeps the support set.

    ``forward`` looks the neighbours up among earlier batches and then, in training mode, puts the first view's projections
    of this batch (of all ranks) into the support set, as the paper does. So a neighbour is never the sample's own view of
    this step. It can be the same sample's projection of an earlier epoch, if the support set reaches back that far: take a
    ``queue_size`` well below the number of images, as the paper's is, or NNCLR becomes instance discrimination. The set
    starts empty, so that the first step has no neighbour: its loss and gradient are 0.

    Parameters
    ----------
    temperature : float
        As in :func:`nnclr`.
    queue_size : int
        Projections to keep; the paper's 98304.
    """

    def __init__(self, temperature: float = 0.1, queue_size: int = 98304) -> None:
        check_temperature(temperature)
        super().__init__(temperature=temperature)
        self.support = Queue(queue_size)

    def forward(self, p1: Tensor, p2: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the loss of predictions and projections ``(N, D)``; in training mode, then put ``z1`` into the set."""
        loss = nnclr(p1, p2, z1, z2, self.support.contents(z1), **self.options)
        if self.training:
            self.support.enqueue(z1)
        return loss

    def update(self, z: Tensor) -> None:
        """Put projections ``(N, D)``, those of all ranks, into the support set; ``forward`` does so by itself."""
        check_embeddings(z, views=1)
        self.support.enqueue(z)
