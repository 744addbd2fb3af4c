"""iBOT: self-distillation of masked patches."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_losses.checks import check_temperature
from ssl_losses.components.center import Center, initial_center, problem_with_center, teacher_targets
from ssl_losses.components.loss import Loss
from ssl_losses.distributed import agree_on, mean_over_ranks
from ssl_losses.ops.patches import problem_with_mask
from ssl_losses.precision import widened, without_autocast


@without_autocast
def ibot(
    student: Tensor,
    teacher: Tensor,
    mask: Tensor,
    center: Tensor | None,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.07,
) -> Tensor:
    r"""Return the patch loss of iBOT (Zhou et al. 2022, https://arxiv.org/abs/2111.07832).

    .. math::
        \frac1G \sum_i \frac{1}{\max(1, |M_i|)} \sum_{j \in M_i}
        H\!\left(\mathrm{softmax}\frac{z^{teacher}_{ij} - c}{\tau_t},\ \mathrm{softmax}\frac{z^{student}_{ij}}{\tau_s}\right)

    with H(q, p) = -Σ_k q_k log p_k, over the masked patches M_i of each image: the mean over an image's patches, then over
    the images of the global batch. An image without a masked patch counts as 0, as in the authors' code and DINOv2's.

    Parameters
    ----------
    student : Tensor
        ``(N, P, K)`` float, the outputs of the student's head for the patches of masked images; or ``(M, K)``, of the masked
        patches only, in the order of ``student[mask]``, so that the head does not compute the others.
    teacher : Tensor
        ``(N, P, K)`` or ``(M, K)`` of the teacher, which sees the images without a mask. No gradient flows into it.
    mask : Tensor
        ``(N, P)`` or ``(N, H, W)`` bool, True where a patch is masked. Images, and ranks, may have different numbers.
    center : Tensor or None
        c, ``(K,)``, the running mean of the teacher's outputs. None balances the prototypes with three iterations of
        Sinkhorn-Knopp over all ranks' masked patches instead, as DINOv2 does (https://arxiv.org/abs/2304.07193).
    student_temperature, teacher_temperature : float
        τ_s and τ_t, at least 1e-6; the paper's 0.1 and 0.07; the latter rises from 0.04 over 30 epochs.

    Returns
    -------
    Tensor
        Scalar, float32 or float64, not negative: the mean over the global batch, 0 if no patch is masked.

    Examples
    --------
    >>> z = torch.zeros(2, 3, 4)  # two images of three patches; the second has none masked
    >>> mask = torch.tensor([[True, True, False], [False, False, False]])
    >>> round(ibot(z, z, mask, center=torch.zeros(4)).item(), 4)  # (log 4 + 0) / 2
    0.6931
    """
    check_temperature(student_temperature, "student_temperature")
    check_temperature(teacher_temperature, "teacher_temperature")
    _check(student, teacher, mask, center)
    mask = mask.flatten(1)
    predictions, logits = (_masked_rows(z, mask) for z in widened((student, teacher)))
    entropies = F.cross_entropy(
        predictions / student_temperature, teacher_targets(logits, center, teacher_temperature), reduction="none"
    )
    counts = mask.sum(1, keepdim=True).expand_as(mask)[mask]  # of the masked patches in each one's image
    return mean_over_ranks((entropies / counts).sum() / len(mask))


def _masked_rows(patches: Tensor, mask: Tensor) -> Tensor:
    """Return the masked patches ``(M, K)`` of all ``(N, P, K)``, or what is already that."""
    return patches[mask] if patches.ndim == 3 else patches


def _check(student: Tensor, teacher: Tensor, mask: Tensor, center: Tensor | None) -> None:
    """Raise ``ValueError`` on every rank if the arguments of one do not fit, or the ranks hold different ``(N, P, K)``."""
    problem = _problem(student, teacher, mask) or problem_with_center(center, teacher)
    # Ranks may differ in the number of masked patches, not in those of images, patches and prototypes
    agree_on([mask if problem else mask.flatten(1).unsqueeze(2).expand(-1, -1, student.shape[-1])], problem)


def _problem(student: Tensor, teacher: Tensor, mask: Tensor) -> str | None:
    """Return what is wrong with this rank's patches and mask, if anything."""
    for z in (student, teacher):
        if not z.is_floating_point():
            return f"patches must be floating point, got {z.dtype}; patches.float() converts"
    if student.shape[-1:] != teacher.shape[-1:] or (student.ndim == teacher.ndim and student.shape != teacher.shape):
        return (
            f"student and teacher must have the same shape, got {tuple(student.shape)} and {tuple(teacher.shape)}; "
            "each is of all patches, or of the masked ones"
        )
    return _problem_with_rows(student, mask) or _problem_with_rows(teacher, mask)


def _problem_with_rows(patches: Tensor, mask: Tensor) -> str | None:
    """Return what is wrong with the shape of all patches ``(N, P, K)``, or of the masked ones ``(M, K)``, if anything."""
    if patches.ndim not in (2, 3) or patches.shape[-1] == 0 or len(mask) == 0:
        return f"patches must be (N, P, K), or (M, K) of the masked ones, got shape {tuple(patches.shape)}"
    if patches.ndim == 3:
        return problem_with_mask(mask, patches)
    masked = int(mask.sum())  # waits for the device, as the selection by a mask does
    if len(patches) != masked or mask.dtype != torch.bool or mask.ndim < 2:
        return (
            f"the mask must be bool (N, P) with an entry True for each of the rows, got {mask.dtype} of shape "
            f"{tuple(mask.shape)} with {masked} for rows {tuple(patches.shape)}; z[mask] selects them"
        )
    return None


class IBOTLoss(Loss):
    """:func:`ibot` as a module that keeps the centre.

    Parameters
    ----------
    num_prototypes : int
        K, the outputs of the head; 8192 in the authors' code.
    student_temperature, teacher_temperature : float
        τ_s and τ_t. For a schedule of τ_t, call ``forward(student, teacher, mask, teacher_temperature=...)``.
    center_momentum : float
        Share of the old centre in the new, the paper's 0.9.
    centering : str
        ``"mean"``: a running mean. ``"sinkhorn"``: DINOv2's Sinkhorn-Knopp, which keeps no state.

    Attributes
    ----------
    center : Tensor or None
        Buffer ``(K,)``, zero at first, the same on all ranks; None with ``centering="sinkhorn"``.
    """

    center: Tensor | None

    def __init__(
        self,
        num_prototypes: int = 8192,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.07,
        center_momentum: float = 0.9,
        centering: str = "mean",
    ) -> None:
        check_temperature(student_temperature, "student_temperature")
        check_temperature(teacher_temperature, "teacher_temperature")
        super().__init__(student_temperature=student_temperature, teacher_temperature=teacher_temperature)
        self.register_buffer("center", initial_center(num_prototypes, centering))
        self.running_mean = Center(center_momentum)

    def forward(
        self, student: Tensor, teacher: Tensor, mask: Tensor, teacher_temperature: float | None = None
    ) -> Tensor:
        """Return the loss of the student's and the teacher's patches, ``(N, P, K)`` or the masked ones' ``(M, K)``.

        In training mode, the centre then moves towards the mean of the teacher's patches that are given: all, as in the
        authors' code, or the masked ones, as in DINOv2's.
        """
        options = self.options_with(teacher_temperature=teacher_temperature)
        loss = ibot(student, teacher, mask, self.center, **options)
        if self.training:
            self.running_mean.update(self.center, teacher.flatten(0, -2))
        return loss

    def update(self, teacher: Tensor) -> None:
        """Move the centre towards the mean of all ranks' patches ``(..., K)``; ``forward`` does so by itself.

        The ranks may have different numbers of patches.
        """
        floats = None if teacher.is_floating_point() else f"patches must be floating point, got {teacher.dtype}"
        agree_on(
            [teacher.new_empty(1, 1).expand(1, teacher.shape[-1])], floats or problem_with_center(self.center, teacher)
        )
        self.running_mean.update(self.center, teacher.flatten(0, -2))
