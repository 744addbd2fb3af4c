"""ReSSL: a student that repeats the teacher's similarities to a queue."""

import torch.nn.functional as F
from torch import Tensor

from ssl_losses.checks import check_embeddings, check_temperature
from ssl_losses.components.loss import Loss
from ssl_losses.components.queue import Queue, problem_with_queue
from ssl_losses.distributed import mean_over_ranks
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.precision import widened, without_autocast
from ssl_losses.similarity.logsumexp import logsumexp


@without_autocast
def ressl(
    student: Tensor,
    teacher: Tensor,
    queue: Tensor,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
) -> Tensor:
    r"""Return the ReSSL loss (Zheng, You, Wang, Qian, Zhang, Wang & Xu 2021, https://arxiv.org/abs/2107.09282).

    .. math::
        -\frac1G \sum_i \sum_k t_{ik} \log s_{ik}, \qquad
        t_i = \mathrm{softmax}_k(\hat t_i \cdot n_k / \tau_t), \quad
        s_i = \mathrm{softmax}_k(\hat s_i \cdot n_k / \tau_s)

    with student, teacher and the rows n of the queue normalised. As Σₖ tᵢₖ = 1, the sum is
    ``logsumexp_k(s·n_k / τ_s) - s·m / τ_s``, where m = Σₖ tᵢₖ nₖ is what the teacher's row attends to in the queue: neither
    matrix of similarities is stored, and memory grows with (N + K)·D.

    Parameters
    ----------
    student : Tensor
        ``(N, D)`` float, the strongly augmented view through the student.
    teacher : Tensor
        ``(N, D)`` float, the weakly augmented view through the teacher. It counts as a constant.
    queue : Tensor
        ``(K, D)`` float, the same on all ranks: teacher's rows of earlier batches, none of this one (a row's own similarity
        of 1 would dominate the others). Without rows, ``(0, D)``, there is no relation and the loss is 0.
    student_temperature, teacher_temperature : float
        τ_s and τ_t, at least 1e-6. The authors' code: 0.1 and 0.04; the teacher's should be the lower one.

    Returns
    -------
    Tensor
        Scalar, float32 or float64: the mean over the global batch. A zero row has similarity 0 to all.

    Examples
    --------
    >>> import torch
    >>> queue = torch.eye(2)
    >>> sure, unsure = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    >>> round(ressl(unsure, sure, queue).item(), 4)  # a student that cannot tell two rows apart: log 2
    0.6931
    """
    check_temperature(student_temperature, "student_temperature")
    check_temperature(teacher_temperature, "teacher_temperature")
    check_embeddings(student, teacher, problem=problem_with_queue(queue, student))
    s, t, rows = (unit_rows(z) for z in widened((student, teacher.detach(), queue.detach())))
    if len(rows) == 0:
        return mean_over_ranks(0 * s.sum())  # with a graph, so that the step is like every other one
    scale = 1 / student_temperature
    attended = _attended(t, rows, 1 / teacher_temperature)
    return mean_over_ranks((logsumexp(s, rows, scale) - (s * attended).sum(1) * scale).mean())


def _attended(queries: Tensor, rows: Tensor, scale: float) -> Tensor:
    """Return the mean of the rows that each query sees, weighted by the softmax of the scaled products, ``(N, D)``."""
    batched = queries[None, None], rows[None, None]  # torch's kernels without the matrix expect (batch, heads, N, D)
    return F.scaled_dot_product_attention(batched[0], batched[1], batched[1], scale=scale)[0, 0]


class ReSSLLoss(Loss):
    """:func:`ressl` as a module that keeps the queue.

    ``forward`` computes with the teacher's rows of earlier batches and then, in training mode, puts those of this batch (of
    all ranks) into the queue. The queue starts empty, so that the first step has no relation: its loss and gradient are 0;
    the authors' code starts with random rows instead.

    Parameters
    ----------
    student_temperature, teacher_temperature : float
        As in :func:`ressl`.
    queue_size : int
        Rows to keep; the authors' 131072 on ImageNet.
    """

    def __init__(
        self, student_temperature: float = 0.1, teacher_temperature: float = 0.04, queue_size: int = 131072
    ) -> None:
        check_temperature(student_temperature, "student_temperature")
        check_temperature(teacher_temperature, "teacher_temperature")
        super().__init__(student_temperature=student_temperature, teacher_temperature=teacher_temperature)
        self.queue = Queue(queue_size)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of rows ``(N, D)``; in training mode, then put the teacher's into the queue."""
        loss = ressl(student, teacher, self.queue.contents(teacher), **self.options)
        if self.training:
            self.queue.enqueue(teacher)
        return loss

    def update(self, teacher: Tensor) -> None:
        """Put teacher's rows ``(N, D)``, those of all ranks, into the queue; ``forward`` does so by itself."""
        check_embeddings(teacher, views=1)
        self.queue.enqueue(teacher)
