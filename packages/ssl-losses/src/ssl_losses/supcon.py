"""SupCon: contrastive learning with labels, every view of the same class a positive."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ssl_losses.checks import check_embeddings, check_temperature
from ssl_losses.components.loss import Loss
from ssl_losses.distributed import gather_with_gradient, mean_over_ranks, rank, sample_numbers, world_size
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.precision import widened, without_autocast
from ssl_losses.similarity.logsumexp import logsumexp, self_logsumexp


@without_autocast
def supcon(views: Sequence[Tensor], labels: Tensor, temperature: float = 0.1) -> Tensor:
    r"""Return the supervised contrastive loss (Khosla et al. 2020, https://arxiv.org/abs/2004.11362; its L_out).

    .. math::
        \ell_i = -\frac{1}{|P(i)|} \sum_{p \in P(i)} \log \frac{\exp(s_{ip} / \tau)}{\sum_{k \ne i} \exp(s_{ik} / \tau)},
        \qquad s_{ik} = \frac{z_i \cdot z_k}{‖z_i‖ ‖z_k‖}

    averaged over all V G embeddings of the global batch; P(i) are the other embeddings with the label of i: its other views,
    and all views of the same class on all ranks. The similarities are computed in tiles and recomputed in the backward pass,
    and the positives through the sum of each class: memory grows with N·D, not with N².

    Parameters
    ----------
    views : sequence of Tensor
        V >= 1 tensors ``(N, D)`` float, the views of this rank's samples; any scale, rows are normalised here. At least 2
        embeddings in the global batch.
    labels : Tensor
        ``(N,)`` integers, the classes of this rank's samples; any numbers. With a different label for each sample of
        the global batch this is SimCLR's NT-Xent, with V views.
    temperature : float
        τ, at least 1e-6; the paper's 0.1.

    Returns
    -------
    Tensor
        Scalar, float32 or float64: the mean over the global batch. An embedding without a positive (one view, alone in its
        class) adds 0, as in the authors' code. A zero row has similarity 0 to all.

    Examples
    --------
    >>> z = torch.eye(4)[[0, 0, 1, 1]]  # two classes, each with one direction
    >>> round(supcon([z], torch.tensor([7, 7, 5, 5]), temperature=1.0).item(), 4)  # log(e + 2) - 1
    0.5514
    """
    check_temperature(temperature)
    check_embeddings(*views, views=1, samples=2 if len(views) == 1 else 1, problem=_problem_with_labels(labels, views))
    rows = [unit_rows(z) for z in widened(views)]
    similarity, positives = _to_positives(rows, labels)
    attraction = similarity / temperature
    return mean_over_ranks(((_to_all(rows, 1 / temperature) - attraction) * (positives > 0)).mean())


def _to_all(rows: list[Tensor], scale: float) -> Tensor:
    """Return the log-sum-exp over all other embeddings, for each of this rank's ``(V N,)``."""
    own, total = sample_numbers(rows[0]), len(rows[0]) * world_size()
    itself = torch.cat([own + view * total for view in range(len(rows))]).unsqueeze(1)
    if world_size() == 1:
        return self_logsumexp(torch.cat(rows), scale, itself)
    return logsumexp(torch.cat(rows), torch.cat([gather_with_gradient(z) for z in rows]), scale, itself)


def _to_positives(rows: list[Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean similarity to the positives (0 without one) and their number, for each of this rank's ``(V N,)``.

    The mean of the similarities to a class is the similarity to its mean: no pairs are needed.
    """
    n = len(labels)
    classes = _numbered(gather_with_gradient(labels))
    samples = gather_with_gradient(torch.stack(rows).sum(0))  # (G, D)
    sums = torch.zeros_like(samples).index_add(0, classes, samples)
    sizes = samples.new_zeros(len(classes)).index_add(0, classes, samples.new_ones(len(classes))) * len(rows)
    own = classes[rank() * n :][:n]
    positives = (sizes[own] - 1).repeat(len(rows))
    similarity = torch.cat([(z * (sums[own] - z)).sum(1) for z in rows])
    return similarity / positives.clamp_min(1), positives


def _numbered(labels: Tensor) -> Tensor:
    """Return the classes as numbers below G, whatever the labels: ``torch.unique`` would break a compiled graph."""
    ordered, order = labels.sort()
    steps = torch.cat([torch.zeros_like(order[:1]), (ordered[1:] != ordered[:-1]).to(order.dtype)])
    return torch.empty_like(order).scatter(0, order, steps.cumsum(0))


def _problem_with_labels(labels: Tensor, views: Sequence[Tensor]) -> str | None:
    """Return what is wrong with this rank's labels, if anything."""
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        return f"labels must be integers, got {labels.dtype}; labels.long() converts"
    if len(views) > 0 and labels.shape != views[0].shape[:1]:
        return (
            f"labels must be one for each of the N={len(views[0])} samples, got shape {tuple(labels.shape)}; "
            "all views of a sample share its label"
        )
    return None


class SupConLoss(Loss):
    """:func:`supcon` as a ``torch.nn.Module`` with the same options."""

    def __init__(self, temperature: float = 0.1) -> None:
        check_temperature(temperature)
        super().__init__(temperature=temperature)

    def forward(self, views: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Return the loss of V views ``(N, D)`` and labels ``(N,)``."""
        return supcon(views, labels, **self.options)
