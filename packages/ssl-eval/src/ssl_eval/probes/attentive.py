"""Attentive probe: classification of frozen tokens by cross-attention with a learned query."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_eval.metrics.accuracy import accuracy
from ssl_eval.probes.dense.patches import token_standardization
from ssl_eval.probes.linear import hold_out
from ssl_eval.probes.sgd import check_training
from ssl_eval.results import ProbeResult
from ssl_eval.validation import check_split, check_tensor

LEARNING_RATES = (1e-4, 3e-4, 1e-3, 3e-3)
MIN_EPOCHS, MIN_STEPS = 20, 500  # of the default schedule
WARMUP = 0.1  # share of the steps with a rising learning rate
MLP_RATIO = 4  # hidden features over features
INIT_STD = 0.02


@dataclass(frozen=True, eq=False, repr=False)
class AttentiveProbeResult(ProbeResult):
    """Result of :func:`attentive_probe`: ``accuracy`` and ``scores``, which are logits.

    Attributes
    ----------
    lr : float
        The learning rate used.
    validation_accuracies : dict
        Learning rate -> top-1 on the held-out training samples; empty where there was nothing to choose.
    classifier : AttentiveClassifier
        The trained classifier, in evaluation mode: tokens ``(M, L, D)`` to logits ``(M, K)``.
    """

    lr: float
    validation_accuracies: dict[float, float]
    classifier: nn.Module


def attentive_probe(
    train_tokens: Tensor,
    train_labels: Tensor,
    test_tokens: Tensor,
    test_labels: Tensor,
    depth: int = 1,
    num_heads: int | None = None,
    lrs: Sequence[float] = LEARNING_RATES,
    epochs: int | None = None,
    batch_size: int = 256,
    weight_decay: float = 0.01,
    validation_fraction: float = 0.2,
    seed: int = 0,
) -> AttentiveProbeResult:
    """Train an :class:`AttentiveClassifier` on frozen tokens, and test it.

    The attentive probe of V-JEPA on tokens that are extracted once. AdamW, a warm-up over a tenth of the steps, then a cosine
    to zero. All learning rates begin with the same weights and see the same batches. The best on held-out training samples is
    trained again on all of them. Unlike V-JEPA's, the tokens are standardised with mean and deviation of the training tokens:
    in a representation that has nearly collapsed, tokens differ by little.

    Parameters
    ----------
    train_tokens, test_tokens : Tensor
        ``(N, L, D)`` and ``(M, L, D)``, on one device; trained in float32, or in float64 if they are float64.
    train_labels, test_labels : Tensor
        ``(N,)`` and ``(M,)`` integer; every class 0..K-1 has a training sample.
    depth : int
        Number of blocks, at least 1: ``depth - 1`` of self-attention, then one of cross-attention.
    num_heads : int, optional
        Number of attention heads; divides D. Default: the largest divisor of D up to D / 32, at least 1.
    lrs : sequence of float
        Peak learning rates, above 0. A single one is used without a choice.
    epochs : int, optional
        Passes over the training samples. Default: 20, or as many as give 500 steps.
    batch_size : int
        Number of samples in a batch.
    weight_decay : float
        Weight decay of AdamW, on matrices only.
    validation_fraction : float
        Share of each class that is held out to choose the learning rate, in (0, 1).
    seed : int
        Random seed of the weights, the held-out samples and the order of the batches.

    Returns
    -------
    AttentiveProbeResult

    Raises
    ------
    ValueError
        If tokens hold NaN, shapes disagree, a class is absent from the training part, an option is out of range, or all
        learning rates diverge.

    References
    ----------
    Bardes et al.: Revisiting Feature Prediction for Learning Visual Representations from Video (V-JEPA), 2024,
    https://arxiv.org/abs/2404.08471, section 5; Chen et al.: Context Autoencoder, IJCV 2023,
    https://arxiv.org/abs/2202.03026 (attentive probing).

    Examples
    --------
    >>> labels = torch.arange(2).repeat(16)
    >>> tokens = torch.nn.functional.one_hot(labels, 4).float()[:, None].expand(32, 3, 4)
    >>> attentive_probe(tokens, labels, tokens, labels, lrs=[1e-2]).accuracy
    1.0
    """
    for name, tokens in (("train_tokens", train_tokens), ("test_tokens", test_tokens)):
        check_tensor(name, tokens)
        if tokens.ndim != 3 or tokens.shape[1:] != train_tokens.shape[1:]:
            raise ValueError(f"{name} must be (N, L, D), the same L and D in both; got {tuple(tokens.shape)}")
    num_classes = check_split(train_tokens.flatten(1), train_labels, test_tokens.flatten(1), test_labels)
    if epochs is None:
        epochs = max(MIN_EPOCHS, math.ceil(MIN_STEPS / math.ceil(len(train_tokens) / max(1, batch_size))))
    check_training(lrs, epochs, batch_size, weight_decay, validation_fraction)
    labels = train_labels.to(train_tokens.device).long()

    def train(rows: Tensor, lr: float) -> AttentiveClassifier:
        made = AttentiveClassifier(train_tokens.shape[2], num_classes, depth, num_heads, seed)
        made.mean, made.scale = mean, scale
        made.to(train_tokens.device, torch.float64 if train_tokens.dtype == torch.float64 else torch.float32)
        _fit(made, train_tokens, labels, rows, lr, epochs, batch_size, weight_decay, seed)
        return made

    mean, scale = token_standardization(train_tokens)
    validation: dict[float, float] = {}
    lr = lrs[0]
    if len(lrs) > 1:
        fitted, held_out = hold_out(labels, validation_fraction, seed, "lrs=[1e-3]")
        for candidate in lrs:
            scores = _scores(train(fitted, candidate), train_tokens, held_out, batch_size)
            if bool(torch.isfinite(scores).all()):  # else it has diverged
                validation[candidate] = accuracy(scores, labels[held_out], topk=(1,))[0]
        if not validation:
            raise ValueError(f"lrs={tuple(lrs)}: all of them diverge; try smaller ones")
        lr = max(validation, key=lambda each: (validation[each], -each))  # of equal ones the smallest
    rows = torch.arange(len(train_tokens), device=train_tokens.device)
    classifier = train(rows, lr)
    everything = torch.arange(len(test_tokens), device=test_tokens.device)
    scores = _scores(classifier, test_tokens, everything, batch_size)
    return AttentiveProbeResult(accuracy(scores, test_labels, topk=(1,))[0], scores, lr, validation, classifier)


class AttentiveClassifier(nn.Module):
    """Self-attention blocks, a block of cross-attention with one learned query, layer norm and a linear classifier.

    The buffers ``mean`` and ``scale (D,)``, 0 and 1 at first, standardise the tokens.

    Parameters
    ----------
    dim, num_classes : int
        D, the width of the tokens, and K, the number of classes.
    depth, num_heads
        As in :func:`attentive_probe`.
    seed : int
        Random seed of the weights, which are normal with a deviation of 0.02, truncated at two deviations.
    """

    def __init__(self, dim: int, num_classes: int, depth: int = 1, num_heads: int | None = None, seed: int = 0) -> None:
        super().__init__()
        num_heads = num_heads or next(each for each in range(max(1, dim // 32), 0, -1) if dim % each == 0)
        if depth < 1 or num_heads < 1 or dim % num_heads:
            raise ValueError(f"depth={depth}, num_heads={num_heads}: expected 1 or more, and a divisor of D={dim}")
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))
        self.query = nn.Parameter(torch.empty(1, 1, dim))
        self.blocks = nn.ModuleList(AttentionBlock(dim, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.linear = nn.Linear(dim, num_classes)
        generator = torch.Generator().manual_seed(seed)
        for name, weights in self.named_parameters():
            if weights.ndim > 1:
                nn.init.trunc_normal_(weights, std=INIT_STD, a=-2 * INIT_STD, b=2 * INIT_STD, generator=generator)
            elif name.endswith("bias"):
                nn.init.zeros_(weights)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits ``(M, K)`` of tokens ``(M, L, D)``."""
        tokens = (tokens - self.mean) / self.scale
        *first, last = self.blocks
        for block in first:
            tokens = block(tokens, tokens)
        query = last(self.query.expand(len(tokens), -1, -1), tokens)
        return self.linear(self.norm(query[:, 0]))


class AttentionBlock(nn.Module):
    """Attention of queries to keys and an MLP, each behind a layer norm and added to its input."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query_norm, self.key_norm, self.mlp_norm = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key_value, self.out = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, MLP_RATIO * dim), nn.GELU(), nn.Linear(MLP_RATIO * dim, dim))

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Return ``queries (M, Q, D)`` changed by what they attend to of ``keys (M, L, D)``."""
        heads = [
            each.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for each in (self.query(self.query_norm(queries)), *self.key_value(self.key_norm(keys)).chunk(2, 2))
        ]
        attended = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        queries = queries + self.out(attended)
        return queries + self.mlp(self.mlp_norm(queries))


@torch.enable_grad()
def _fit(
    classifier: AttentiveClassifier,
    tokens: Tensor,
    labels: Tensor,
    rows: Tensor,
    lr: float,
    epochs: int,
    batch_size: int,
    weight_decay: float,
    seed: int,
) -> None:
    """Train a classifier on some rows of the tokens."""
    matrices = [weights for weights in classifier.parameters() if weights.ndim == 2]
    others = [weights for weights in classifier.parameters() if weights.ndim != 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=lr)
    dtype = classifier.query.dtype
    generator = torch.Generator().manual_seed(seed)
    steps = -(-len(rows) // batch_size) * epochs
    warmup, step = max(1, round(WARMUP * steps)), 0
    for _ in range(epochs):
        order = rows[torch.randperm(len(rows), generator=generator).to(rows.device)]
        for batch in order.split(batch_size):
            cosine = (1 + math.cos(math.pi * max(0, step - warmup) / max(1, steps - warmup))) / 2
            for group in optimizer.param_groups:
                group["lr"] = lr * min((step + 1) / warmup, cosine)
            loss = F.cross_entropy(classifier(tokens[batch].to(dtype)), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    classifier.eval()


@torch.no_grad()
def _scores(classifier: AttentiveClassifier, tokens: Tensor, rows: Tensor, batch_size: int) -> Tensor:
    dtype = classifier.query.dtype
    return torch.cat([classifier(tokens[batch].to(dtype)) for batch in rows.split(batch_size)])
