"""Linear probe by SGD with a grid of learning rates, trained simultaneously: the protocol of most papers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_eval.features import Features, split_of
from ssl_eval.metrics.accuracy import accuracy
from ssl_eval.probes.linear import hold_out, standardization
from ssl_eval.results import ProbeResult
from ssl_eval.validation import check_even, check_split, computed_in

LEARNING_RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
MOMENTUM = 0.9


@dataclass(frozen=True, eq=False, repr=False)
class SGDProbeResult(ProbeResult):
    """Result of :func:`sgd_probe`: ``accuracy`` and ``scores``, which are logits.

    Attributes
    ----------
    lr : float
        The learning rate used.
    validation_accuracies : dict
        Learning rate -> top-1 on the held-out training samples; empty where there was nothing to choose.
    """

    lr: float
    validation_accuracies: dict[float, float]


@torch.no_grad()
def sgd_probe(
    train_features: Tensor | Features,
    train_labels: Tensor | None = None,
    test_features: Tensor | None = None,
    test_labels: Tensor | None = None,
    lrs: Sequence[float] = LEARNING_RATES,
    epochs: int = 100,
    batch_size: int = 256,
    weight_decay: float = 0.0,
    validation_fraction: float = 0.2,
    seed: int = 0,
) -> SGDProbeResult:
    """Train a linear classifier on frozen features by SGD (momentum 0.9, cosine to zero), and test it.

    The protocol of MoCo, SimCLR, DINO and MAE on features that are extracted once: standardised with the mean and the
    deviation of the training part (MAE's batch normalisation without parameters), weights from zero. All learning rates see
    the same batches in one pass: their weights are concatenated in one matrix. The best on held-out training samples is
    trained again on all of them. The test samples are used for the score only, unlike in those papers, which report the best
    of the grid on the test set.

    Parameters
    ----------
    train_features, test_features : Tensor
        ``(N, D)`` and ``(M, D)``, on one device; or all four as one :class:`ssl_eval.Features`. Computed in float64 if they are
        float64 or their squares do not fit into float32, else in float32.
    train_labels, test_labels : Tensor
        ``(N,)`` and ``(M,)`` integer; every class 0..K-1 has a training sample.
    lrs : sequence of float
        Peak learning rates, not scaled by the batch size, above 0. A single one is used without a choice.
    epochs : int
        Passes over the training samples, at least 1.
    batch_size : int
        Number of samples in a batch, at least 1; the last batch of an epoch may be smaller.
    weight_decay : float
        L2 penalty on weights, not on biases, as torch's SGD has it.
    validation_fraction : float
        Share of each class that is held out to choose the learning rate, in (0, 1).
    seed : int
        Random seed of the held-out samples and of the order of the batches.

    Returns
    -------
    SGDProbeResult

    Raises
    ------
    ValueError
        If features hold NaN, shapes disagree, a class is absent from the training part, an option is out of range, or all
        learning rates diverge.

    References
    ----------
    He, Fan, Wu, Xie & Girshick: Momentum Contrast, CVPR 2020, section 4.1; Caron et al.: DINO, ICCV 2021; Oquab et al.:
    DINOv2, 2023 (the grid in one pass).

    Examples
    --------
    >>> features = torch.tensor([[0.0, 0.1], [0.1, 0.0], [1.0, 0.9], [0.9, 1.0]])
    >>> labels = torch.tensor([0, 0, 1, 1])
    >>> sgd_probe(features, labels, features, labels, epochs=10).accuracy
    1.0
    """
    train_features, train_labels, test_features, test_labels = split_of(
        train_features, train_labels, test_features, test_labels
    )
    num_classes = check_split(train_features, train_labels, test_features, test_labels)
    check_training(lrs, epochs, batch_size, weight_decay, validation_fraction)
    check_even("train_features", train_features)
    dtype = computed_in(train_features, test_features)
    mean, scale = standardization(train_features.to(dtype))
    labels = train_labels.to(train_features.device).long()
    train, test = ((each.to(dtype) - mean) / scale for each in (train_features, test_features))

    validation: dict[float, float] = {}
    lr = lrs[0]
    if len(lrs) > 1:
        split = hold_out(labels, validation_fraction, seed, "lrs=[0.1]")
        validation = held_out_accuracies(train, labels, split, num_classes, lrs, epochs, batch_size, weight_decay, seed)
        if not validation:
            raise ValueError(f"lrs={tuple(lrs)}: all of them diverge; try smaller ones")
        lr = max(validation, key=lambda each: (validation[each], -each))  # of equal ones the smallest
    ((weight, bias),) = train_grid(train, labels, num_classes, [lr], epochs, batch_size, weight_decay, seed)
    scores = torch.addmm(bias, test, weight.T)
    return SGDProbeResult(accuracy(scores, test_labels, topk=(1,))[0], scores, lr, validation)


def check_training(
    lrs: Sequence[float], epochs: int, batch_size: int, weight_decay: float, validation_fraction: float
) -> None:
    """Raise a ValueError for options of a training that are out of range."""
    if not lrs or not min(lrs) > 0:
        raise ValueError(f"lrs={tuple(lrs)}: expected learning rates above 0")
    if min(epochs, batch_size) < 1 or not weight_decay >= 0 or not 0 < validation_fraction < 1:
        raise ValueError(
            f"epochs={epochs}, batch_size={batch_size}, weight_decay={weight_decay}, "
            f"validation_fraction={validation_fraction}: expected 1 or more, 1 or more, 0 or more, within (0, 1)"
        )


def held_out_accuracies(
    features: Tensor,
    labels: Tensor,
    split: tuple[Tensor, Tensor],
    num_classes: int,
    lrs: Sequence[float],
    epochs: int,
    batch_size: int,
    weight_decay: float,
    seed: int,
) -> dict[float, float]:
    """Return learning rate -> top-1 on the held-out samples, without those that diverge; ``split``: rows fitted, held out."""
    fitted, held_out = split
    grid = train_grid(
        features[fitted], labels[fitted], num_classes, lrs, epochs, min(batch_size, len(fitted)), weight_decay, seed
    )
    found = {}
    for lr, (weight, bias) in zip(lrs, grid):
        scores = torch.addmm(bias, features[held_out], weight.T)
        if bool(torch.isfinite(scores).all()):
            found[lr] = accuracy(scores, labels[held_out], topk=(1,))[0]
    return found


def train_grid(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    lrs: Sequence[float],
    epochs: int,
    batch_size: int,
    weight_decay: float,
    seed: int,
    standardization: tuple[Tensor, Tensor] | None = None,
) -> list[tuple[Tensor, Tensor]]:
    """Return weight ``(K, D)`` and bias ``(K,)`` for each learning rate, all trained on the same batches.

    ``labels`` are classes ``(N,)``; or ``(N, K)``, how much of a sample belongs to each class: then the loss of a batch is the
    mean over all that it holds. ``standardization``: mean and deviation ``(D,)`` for features that are converted batch by
    batch, such as half-precision ones; the result is for standardised features, in the dtype of these two.

    The gradient of the cross-entropy is in closed form (softmax minus one-hot), not by autograd: the classifiers are the
    columns of a single matrix product of ``(B, D)`` by ``(D, G * K)``, for G learning rates.
    """
    num_lrs, width = len(lrs), features.shape[1]
    dtype = features.dtype if standardization is None else standardization[0].dtype
    rate = torch.tensor(lrs, dtype=dtype, device=features.device)[:, None, None]
    weight = features.new_zeros(num_lrs, num_classes, width, dtype=dtype)
    bias = features.new_zeros(num_lrs, num_classes, 1, dtype=dtype)
    velocities = torch.zeros_like(weight), torch.zeros_like(bias)
    generator = torch.Generator().manual_seed(seed)
    steps = -(-len(features) // batch_size) * epochs
    step = 0
    for _ in range(epochs):
        for batch in torch.randperm(len(features), generator=generator).to(features.device).split(batch_size):
            x, y = features[batch], labels[batch]
            if standardization is not None:
                x = (x.to(dtype) - standardization[0]) / standardization[1]
            logits = torch.einsum("bd,gkd->gkb", x, weight) + bias
            if y.ndim == 2:
                shares = y.T.to(dtype) / y.sum().clamp(min=1)
                residual = logits.softmax(1) * shares.sum(0) - shares
            else:
                residual = logits.softmax(1) / len(batch)
                residual[:, y, torch.arange(len(batch), device=y.device)] -= 1 / len(batch)
            gradients = residual @ x + weight_decay * weight, residual.sum(2, keepdim=True)
            factor = (1 + math.cos(math.pi * step / steps)) / 2
            for values, velocity, gradient in zip((weight, bias), velocities, gradients):
                velocity.mul_(MOMENTUM).add_(gradient)
                values.sub_(factor * rate * velocity)
            step += 1
    return list(zip(weight, bias[:, :, 0]))
