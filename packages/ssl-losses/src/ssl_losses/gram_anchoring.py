"""Gram anchoring: the similarities between the patches of an image, held at those of an earlier teacher."""

from torch import Tensor, nn

from ssl_losses.checks import problem_with_layout
from ssl_losses.distributed import agree_on, mean_over_ranks
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.precision import widened, without_autocast


@without_autocast
def gram_anchoring(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Return the Gram anchoring loss of DINOv3 (Siméoni et al. 2025, https://arxiv.org/abs/2508.10104).

    .. math::
        \frac1G \sum_i \frac{1}{P^2} \left‖ \hat S_i \hat S_i^\top - \hat T_i \hat T_i^\top \right‖_F^2

    over the images of the global batch: the cosine similarities of all pairs of patches of one image, of the student and of
    the Gram teacher, an early state of the training with good local features. The patches may change, as long as their
    similarities do not. The mean over the P² pairs is that of the authors' code; the paper writes the sum. It is added to
    other losses, with weight 2 in the paper.

    Parameters
    ----------
    student : Tensor
        ``(N, P, D)`` float, the features of P patches; any scale, they are normalised here.
    teacher : Tensor
        ``(N, P, E)`` float, of the same patches; a constant, no gradient flows into it. E may differ from D. From a teacher
        that sees the images larger, first bring the features to the student's grid (the authors: bicubic).

    Returns
    -------
    Tensor
        Scalar, float32 or float64, between 0 and 4. A zero feature has similarity 0 to all.

    Examples
    --------
    >>> import torch
    >>> patches = torch.eye(2).unsqueeze(0)  # one image of two patches that have nothing in common
    >>> gram_anchoring(patches, -3 * patches).item(), round(gram_anchoring(patches, torch.ones(1, 2, 5)).item(), 4)
    (0.0, 0.5)
    """
    agree_on((student, teacher), _problem(student, teacher))
    student, teacher = widened((student, teacher.detach()))
    return mean_over_ranks((_similarities(student) - _similarities(teacher)).square().mean())


def _similarities(patches: Tensor) -> Tensor:
    """Return the cosine similarities of the patches of each image, ``(N, P, P)`` of ``(N, P, D)``."""
    rows = unit_rows(patches.flatten(0, 1)).view_as(patches)
    return rows @ rows.mT


def _problem(student: Tensor, teacher: Tensor) -> str | None:
    """Return what is wrong with this rank's patches, if anything."""
    if student.shape[:2] != teacher.shape[:2]:
        return (
            f"student and teacher must have the same patches, got shapes {tuple(student.shape)} and {tuple(teacher.shape)}; "
            "bring the teacher's features to the student's grid"
        )
    return problem_with_layout("student", student, "(N, P, D)") or problem_with_layout("teacher", teacher, "(N, P, E)")


class GramAnchoringLoss(nn.Module):
    """:func:`gram_anchoring` as a ``torch.nn.Module``."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of the student's and the teacher's patches ``(N, P, D)``."""
        return gram_anchoring(student, teacher)
