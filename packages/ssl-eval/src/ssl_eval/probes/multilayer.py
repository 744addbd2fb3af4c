"""Linear probe on the tokens of the last blocks of a vision transformer."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from ssl_eval.metrics.accuracy import accuracy
from ssl_eval.probes.linear import hold_out, standardization
from ssl_eval.probes.sgd import LEARNING_RATES, check_training, held_out_accuracies, train_grid
from ssl_eval.results import ProbeResult
from ssl_eval.validation import check_even, check_split, check_tensor, computed_in


@dataclass(frozen=True, eq=False, repr=False)
class MultilayerProbeResult(ProbeResult):
    """Result of :func:`multilayer_linear_probe`: ``accuracy`` and ``scores``, which are logits.

    Attributes
    ----------
    blocks : int
        Number of last blocks whose class tokens are used.
    patches : bool
        Whether the mean of the patch tokens of the last block is used, too.
    lr : float
        The learning rate used.
    validation_accuracies : dict
        ``(blocks, patches, lr)`` -> top-1 on the held-out training samples; empty where there was nothing to choose.
    """

    blocks: int
    patches: bool
    lr: float
    validation_accuracies: dict[tuple[int, bool, float], float]


@torch.no_grad()
def multilayer_linear_probe(
    train_tokens: Tensor,
    train_labels: Tensor,
    test_tokens: Tensor,
    test_labels: Tensor,
    blocks: Sequence[int] = (1, 4),
    patches: Sequence[bool] = (False, True),
    lrs: Sequence[float] = LEARNING_RATES,
    epochs: int = 100,
    batch_size: int = 256,
    weight_decay: float = 0.0,
    validation_fraction: float = 0.2,
    seed: int = 0,
) -> MultilayerProbeResult:
    """Train linear classifiers on class and patch tokens of the last blocks, and test the best.

    The linear evaluation of DINOv2 on tokens that are extracted once. An input is the class tokens of the last n blocks side by
    side, with or without the mean of the patch tokens of the last block. The learning rates of an input are trained at once, as
    in :func:`ssl_eval.sgd_probe`. The best combination on held-out training samples is trained again on all of them; DINOv2
    reports the best on the test set.

    Parameters
    ----------
    train_tokens, test_tokens : Tensor
        ``(N, B, 2, D)`` and ``(M, B, 2, D)``, on one device: of the last B blocks, the last one at the end, the class token and
        the mean of the patch tokens.
    train_labels, test_labels : Tensor
        ``(N,)`` and ``(M,)`` integer; every class 0..K-1 has a training sample.
    blocks : sequence of int
        Values of n, from 1 to B.
    patches : sequence of bool
        Whether to use the mean of the patch tokens.
    lrs, epochs, batch_size, weight_decay, validation_fraction, seed
        As in :func:`ssl_eval.sgd_probe`.

    Returns
    -------
    MultilayerProbeResult

    Raises
    ------
    ValueError
        If tokens hold NaN, shapes disagree, a class is absent from the training part, an option is out of range, or all
        combinations diverge.

    References
    ----------
    Oquab et al.: DINOv2, 2023, https://arxiv.org/abs/2304.07193, section 7.1; Caron et al.: DINO, ICCV 2021 (4 blocks).

    Examples
    --------
    >>> labels = torch.arange(3).repeat(8)
    >>> tokens = torch.nn.functional.one_hot(labels, 3).float()[:, None, None].expand(24, 4, 2, 3)
    >>> multilayer_linear_probe(tokens, labels, tokens, labels, epochs=10).accuracy
    1.0
    """
    for name, tokens in (("train_tokens", train_tokens), ("test_tokens", test_tokens)):
        check_tensor(name, tokens)
        if tokens.ndim != 4 or tokens.shape[2] != 2 or tokens.shape[1:] != train_tokens.shape[1:]:
            raise ValueError(
                f"{name} must be (N, B, 2, D), class token and mean of the patch tokens of B blocks, the same B and D in both; "
                f"got {tuple(tokens.shape)}"
            )
    num_classes = check_split(train_tokens.flatten(1), train_labels, test_tokens.flatten(1), test_labels)
    check_training(lrs, epochs, batch_size, weight_decay, validation_fraction)
    depth = train_tokens.shape[1]
    if not blocks or not 1 <= min(blocks) <= max(blocks) <= depth or not patches:
        raise ValueError(f"blocks={tuple(blocks)}, patches={tuple(patches)}: expected 1 to {depth}, and False or True")
    check_even("train_tokens", train_tokens.flatten(1))
    labels = train_labels.to(train_tokens.device).long()
    dtype = computed_in(train_tokens, test_tokens)

    inputs = list(product(blocks, patches))
    validation: dict[tuple[int, bool, float], float] = {}
    chosen = (*inputs[0], lrs[0])
    if len(inputs) * len(lrs) > 1:
        split = hold_out(labels, validation_fraction, seed, "blocks=[1], patches=[False], lrs=[0.1]")
        for each in inputs:
            train = _standardized(each, train_tokens, dtype)[0]
            found = held_out_accuracies(train, labels, split, num_classes, lrs, epochs, batch_size, weight_decay, seed)
            validation |= {(*each, lr): value for lr, value in found.items()}
        if not validation:
            raise ValueError(f"lrs={tuple(lrs)}: all of them diverge; try smaller ones")
        # of equal ones the smallest input, then the smallest learning rate
        chosen = min(validation, key=lambda key: (-validation[key], key))
    train, test = _standardized(chosen[:2], train_tokens, dtype, test_tokens)
    ((weight, bias),) = train_grid(train, labels, num_classes, [chosen[2]], epochs, batch_size, weight_decay, seed)
    scores = torch.addmm(bias, test, weight.T)
    return MultilayerProbeResult(accuracy(scores, test_labels, topk=(1,))[0], scores, *chosen, validation)


def _standardized(combination: tuple[int, bool], train: Tensor, dtype: torch.dtype, *others: Tensor) -> list[Tensor]:
    """Return the inputs ``(N, width)`` of a combination, standardised by the training samples."""
    blocks, patches = combination
    inputs = []
    for tokens in (train, *others):
        parts = [*tokens[:, -blocks:, 0].unbind(1), *([tokens[:, -1, 1]] if patches else [])]
        inputs.append(torch.cat(parts, 1).to(dtype))
    mean, scale = standardization(inputs[0])
    return [(each - mean) / scale for each in inputs]
