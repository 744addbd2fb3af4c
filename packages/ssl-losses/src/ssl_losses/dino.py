"""DINO: self-distillation with no labels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ssl_losses.checks import check_embeddings, check_temperature
from ssl_losses.components.center import Center, initial_center, problem_with_center, teacher_targets
from ssl_losses.components.loss import Loss
from ssl_losses.ops.cross_view_entropy import cross_view_entropy
from ssl_losses.precision import widened, without_autocast


@without_autocast
def dino(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    center: Tensor | None,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
) -> Tensor:
    r"""Return the DINO loss (Caron et al. 2021, https://arxiv.org/abs/2104.14294).

    .. math::
        \frac{1}{|\mathcal P|} \sum_{(t, s) \in \mathcal P} \frac1G \sum_i
        H\!\left(\mathrm{softmax}\frac{z^{teacher}_{t,i} - c}{\tau_t},\ \mathrm{softmax}\frac{z^{student}_{s,i}}{\tau_s}\right)

    with H(q, p) = -Σ_k q_k log p_k, over all pairs 𝒫 of a teacher's view and *another* view of the student's.

    Parameters
    ----------
    student : sequence of Tensor
        V outputs ``(N, K)`` float of the student's head: the global views first, in the teacher's order, then the local ones.
        There must be a pair in 𝒫: a view does not learn from itself.
    teacher : sequence of Tensor
        T outputs ``(N, K)`` float of the teacher's head, one for each global view; no gradient flows into them.
    center : Tensor or None
        c, ``(K,)``, the running mean of the teacher's outputs. None balances the prototypes with three iterations of
        Sinkhorn-Knopp over all teacher's views of the global batch instead, as DINOv2 does (Oquab et al. 2023,
        https://arxiv.org/abs/2304.07193).
    student_temperature, teacher_temperature : float
        τ_s and τ_t, at least 1e-6; the paper's 0.1, and 0.04 which it warms up to 0.07 over 30 epochs for its ViTs.

    Returns
    -------
    Tensor
        Scalar, float32 or float64, not negative: the mean over the global batch.

    Examples
    --------
    >>> z = torch.tensor([[0.0, 0.0]])
    >>> round(dino([z, z], [z, z], center=torch.zeros(2)).item(), 4)  # log 2: neither side prefers a prototype
    0.6931
    """
    check_temperature(student_temperature, "student_temperature")
    check_temperature(teacher_temperature, "teacher_temperature")
    check_embeddings(*student, *teacher, problem=_problem(student, teacher, center))
    outputs = widened([*student, *teacher])
    targets = teacher_targets(torch.cat(outputs[len(student) :]), center, teacher_temperature).chunk(len(teacher))
    return cross_view_entropy(targets, [z / student_temperature for z in outputs[: len(student)]])


def _problem(student: Sequence[Tensor], teacher: Sequence[Tensor], center: Tensor | None) -> str | None:
    """Return what is wrong with this rank's views besides their shapes, if anything."""
    if min(len(student), len(teacher)) < 1 or max(len(student), len(teacher)) < 2:
        return (
            "there must be a view of the teacher and another one of the student, got "
            f"{len(teacher)} of the teacher and {len(student)} of the student; a view does not learn from itself"
        )
    return problem_with_center(center, teacher[0])


class DINOLoss(Loss):
    """:func:`dino` as a module that keeps the centre.

    Parameters
    ----------
    num_prototypes : int
        K, the outputs of the head; the paper's 65536.
    student_temperature, teacher_temperature : float
        τ_s and τ_t. For a schedule of τ_t, call ``forward(student, teacher, teacher_temperature=...)``.
    center_momentum : float
        Share of the old centre in the new, the paper's 0.9.
    centering : str
        ``"mean"``: DINO's running mean. ``"sinkhorn"``: DINOv2's Sinkhorn-Knopp, which keeps no state.

    Attributes
    ----------
    center : Tensor or None
        Buffer ``(K,)``, zero at first, the same on all ranks; None with ``centering="sinkhorn"``.
    """

    center: Tensor | None

    def __init__(
        self,
        num_prototypes: int = 65536,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        center_momentum: float = 0.9,
        centering: str = "mean",
    ) -> None:
        check_temperature(student_temperature, "student_temperature")
        check_temperature(teacher_temperature, "teacher_temperature")
        super().__init__(student_temperature=student_temperature, teacher_temperature=teacher_temperature)
        self.register_buffer("center", initial_center(num_prototypes, centering))
        self.running_mean = Center(center_momentum)

    def forward(
        self, student: Sequence[Tensor], teacher: Sequence[Tensor], teacher_temperature: float | None = None
    ) -> Tensor:
        """Return the loss of the student's views and the teacher's, ``(N, K)`` each; in training mode, then move the centre."""
        options = self.options_with(teacher_temperature=teacher_temperature)
        loss = dino(student, teacher, self.center, **options)
        if self.training:
            self.running_mean.update(self.center, torch.cat(list(teacher)))
        return loss

    def update(self, teacher: Sequence[Tensor]) -> None:
        """Move the centre towards the mean of all teacher's views ``(N, K)`` of all ranks; ``forward`` does so by itself."""
        problem = problem_with_center(self.center, teacher[0]) if len(teacher) else None
        check_embeddings(*teacher, views=1, problem=problem)
        self.running_mean.update(self.center, torch.cat(list(teacher)))
