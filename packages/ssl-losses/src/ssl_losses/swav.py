"""SwAV: swapped assignments between views."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from ssl_losses.checks import check_counts, check_embeddings, check_temperature
from ssl_losses.components.loss import Loss
from ssl_losses.components.prototypes import problem_with_prototypes, random_prototypes
from ssl_losses.components.queue import Queue, problem_with_queue
from ssl_losses.distributed import rank, world_size
from ssl_losses.ops.cross_view_entropy import cross_view_entropy
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.ops.sinkhorn import sinkhorn
from ssl_losses.precision import widened, without_autocast


@without_autocast
def swav(
    *views: Tensor,
    prototypes: Tensor,
    queues: Sequence[Tensor] = (),
    global_views: int = 2,
    temperature: float = 0.1,
    epsilon: float = 0.05,
    sinkhorn_iterations: int = 3,
) -> Tensor:
    r"""Return the SwAV loss (Caron et al. 2020, https://arxiv.org/abs/2006.09882).

    .. math::
        -\frac{1}{T (V - 1)} \sum_{t \le T} \sum_{v \ne t} \frac1G \sum_i \sum_k
        q_{t,i,k} \log \mathrm{softmax}_k \frac{z_{v,i} \cdot c_k}{\tau}

    with embeddings z and prototypes c normalised, and the codes q_t = sinkhorn(z_t · c) balanced over the global batch for
    each of the T global views.

    Parameters
    ----------
    *views : Tensor
        V >= 2 tensors ``(N, D)`` float, the global (full resolution) views first, then the local ones.
    prototypes : Tensor
        ``(K, D)`` float, the same on all ranks; any scale, rows are normalised here. They learn from this loss.
    queues : sequence of Tensor
        For each global view, rows ``(L, D)`` of earlier batches that take part in the balance of its codes, the same on all
        ranks; for batches that are small compared with K. Any scale.
    global_views : int
        T, the views that have codes; the paper's 2.
    temperature : float
        τ, at least 1e-6; the paper's 0.1.
    epsilon, sinkhorn_iterations : float, int
        Temperature and iterations of :func:`sinkhorn`; the paper's 0.05 and 3.

    Returns
    -------
    Tensor
        Scalar, float32 or float64, not negative: the mean over the global batch.

    Examples
    --------
    >>> z = torch.eye(2)  # two samples, each on its own prototype: the codes are 1 and 0, the prediction σ(1 / τ)
    >>> round(swav(z, z, prototypes=torch.eye(2), temperature=1.0, epsilon=0.01).item(), 4)  # log(1 + 1 / e)
    0.3133
    """
    check_temperature(temperature)
    check_temperature(epsilon, "epsilon")
    check_counts(global_views=global_views)
    check_embeddings(*views, problem=_problem(views, prototypes, queues, global_views))
    *embeddings, c = (unit_rows(z) for z in widened([*views, prototypes]))
    scores = [z @ c.T for z in embeddings]
    codes = []
    for view in range(global_views):
        balanced = scores[view]
        if queues:  # the queue is the same on all ranks: each brings its share, so that a row counts once
            share = unit_rows(queues[view][rank() :: world_size()].to(c))
            balanced = torch.cat([share @ c.T, balanced])
        codes.append(sinkhorn(balanced, epsilon, sinkhorn_iterations)[-len(scores[view]) :])
    return cross_view_entropy(codes, [score / temperature for score in scores])


def _problem(views: Sequence[Tensor], prototypes: Tensor, queues: Sequence[Tensor], global_views: int) -> str | None:
    """Return what is wrong with this rank's arguments besides the views' shapes, if anything."""
    if len(views) < global_views:
        return f"expected at least global_views={global_views} views, got {len(views)}; lower global_views"
    if queues and len(queues) != global_views:
        return f"expected a queue for each of global_views={global_views} views, got {len(queues)}"
    problems = [problem_with_prototypes(prototypes, views), *(problem_with_queue(queue, views[0]) for queue in queues)]
    return next(filter(None, problems), None)


class SwAVLoss(Loss):
    """:func:`swav` as a module that keeps the prototypes and, if it has them, the queues.

    The prototypes are normalised in each forward pass, with gradient, and so their length never matters; the authors set
    them to length 1 before each step instead. They also keep them fixed for the first epoch, and start the queues in the
    15th: ``criterion.prototypes.requires_grad_(False)`` and ``forward(*views, use_queue=False)``.

    Parameters
    ----------
    num_prototypes, dimensions : int
        K and D; the paper's 3000 and 128.
    global_views, temperature, epsilon, sinkhorn_iterations
        As in :func:`swav`.
    queue_size : int
        Rows to keep for each global view, over all ranks; 0 for none, as in the paper's large batches, 3840 in its small
        ones. A queue starts empty, and its rows take part as soon as they are there; the authors wait until it is full.

    Attributes
    ----------
    prototypes : Parameter
        ``(K, D)``, random directions at first: seed all ranks alike, or let ``DistributedDataParallel`` broadcast them.
    queues : list of Queue
        A :class:`~ssl_losses.components.queue.Queue` for each global view, if any.
    """

    queues: Iterable[Queue]  # a ModuleList, whose elements would be any modules to a type checker
    global_views: int

    def __init__(
        self,
        num_prototypes: int = 3000,
        dimensions: int = 128,
        global_views: int = 2,
        temperature: float = 0.1,
        epsilon: float = 0.05,
        sinkhorn_iterations: int = 3,
        queue_size: int = 0,
    ) -> None:
        check_temperature(temperature)
        check_temperature(epsilon, "epsilon")
        check_counts(num_prototypes=num_prototypes, dimensions=dimensions, global_views=global_views)
        check_counts(0, sinkhorn_iterations=sinkhorn_iterations, queue_size=queue_size)
        super().__init__(
            global_views=global_views, temperature=temperature, epsilon=epsilon, sinkhorn_iterations=sinkhorn_iterations
        )
        self.prototypes = nn.Parameter(random_prototypes(num_prototypes, dimensions))
        self.queues = nn.ModuleList(  # type: ignore[assignment]
            Queue(queue_size) for _ in range(global_views if queue_size else 0)
        )

    def forward(self, *views: Tensor, use_queue: bool = True) -> Tensor:
        """Return the loss of V views ``(N, D)``.

        The codes are balanced with the queues' rows of earlier batches; in training mode, those of this batch are put in
        afterwards. With ``use_queue=False`` neither happens.
        """
        queues = [queue.contents(views[0]) for queue in self.queues] if use_queue and views else []
        loss = swav(*views, prototypes=self.prototypes, queues=queues, **self.options)
        if self.training and use_queue:
            self._enqueue(views)
        return loss

    def update(self, *views: Tensor) -> None:
        """Put the global views' rows ``(N, D)`` of all ranks into the queues, if any; ``forward`` does so by itself."""
        check_embeddings(*views, views=self.global_views, problem=problem_with_prototypes(self.prototypes, views))
        self._enqueue(views)

    def _enqueue(self, views: Sequence[Tensor]) -> None:
        for queue, z in zip(self.queues, views):
            queue.enqueue(z)
