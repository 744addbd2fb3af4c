"""SigLIP: a sigmoid loss over all pairs of two views, or of images and texts."""

import math

import torch
from torch import Tensor, nn

from ssl_losses.checks import check_embeddings
from ssl_losses.components.learned_scale import check_scale, on_all_ranks
from ssl_losses.distributed import gather_with_gradient, mean_over_ranks, sample_numbers
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.ops.softplus import softplus
from ssl_losses.precision import widened, without_autocast
from ssl_losses.similarity.softplus_sum import softplus_sum


@without_autocast
def siglip(z1: Tensor, z2: Tensor, logit_scale: float | Tensor = 10.0, logit_bias: float | Tensor = -10.0) -> Tensor:
    r"""Return the sigmoid loss of SigLIP (Zhai, Mustafa, Kolesnikov & Beyer 2023, https://arxiv.org/abs/2303.15343).

    .. math::
        -\frac1G \sum_i \sum_k \log \sigma(y_{ik} (t \, \hat z_{1,i} \cdot \hat z_{2,k} + b)), \qquad
        y_{ik} = 1 \text{ where } i = k, \text{ else } -1

    over all pairs of the global batch, with rows normalised. The pairs are computed in tiles and recomputed in the backward
    pass: memory grows with N·D, not with N².

    Parameters
    ----------
    z1, z2 : Tensor
        ``(N, D)`` float, the two views, or images and texts; row i of both belongs together.
    logit_scale : float or Tensor
        t, above 0: a number or a scalar tensor, which gets a gradient. The paper learns log t, from t = 10.
    logit_bias : float or Tensor
        b, likewise. The paper learns it, from -10: at first all pairs count as negatives, as nearly all are.

    Returns
    -------
    Tensor
        Scalar, float32 or float64, not negative: the mean over the global batch of the *sum* over the other view, so that
        it grows with G. A zero row has similarity 0 to all.

    Examples
    --------
    >>> z = torch.eye(2)
    >>> round(siglip(z, z, logit_scale=2.0, logit_bias=-1.0).item(), 4)  # a pair of logit 1, a pair of logit -1
    0.6265
    """
    _check_options(logit_scale, logit_bias)
    check_embeddings(z1, z2)
    a, b = (unit_rows(z) for z in widened((z1, z2)))
    scale, bias = on_all_ranks(logit_scale, a), on_all_ranks(logit_bias, a)
    own = sample_numbers(a).unsqueeze(1)
    others = gather_with_gradient(b)
    # the bias is one more dimension: its coordinate in the queries, 1 in the keys
    queries = torch.cat([a * scale, bias.expand(len(a), 1)], dim=1)
    keys = torch.cat([others, others.new_ones(len(others), 1)], dim=1)
    positives = softplus(-((a * b).sum(1) * scale + bias))
    return mean_over_ranks((positives + softplus_sum(queries, keys, excluded=own)).mean())


def _check_options(logit_scale: float | Tensor, logit_bias: float | Tensor) -> None:
    check_scale(logit_scale=logit_scale)
    if not isinstance(logit_bias, Tensor) and not math.isfinite(logit_bias):
        raise ValueError(f"logit_bias must be finite, got {logit_bias}; the paper starts from -10")


class SigLIPLoss(nn.Module):
    """:func:`siglip` as a module that learns the bias and the logarithm of the scale: pass its parameters to the optimizer.

    Parameters
    ----------
    logit_scale, logit_bias : float
        Initial values; the paper's 10 and -10.
    """

    def __init__(self, logit_scale: float = 10.0, logit_bias: float = -10.0) -> None:
        super().__init__()
        _check_options(logit_scale, logit_bias)
        self.log_scale = nn.Parameter(torch.tensor(math.log(logit_scale)))
        self.logit_bias = nn.Parameter(torch.tensor(float(logit_bias)))

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the loss of two views ``(N, D)``."""
        return siglip(z1, z2, self.log_scale.exp(), self.logit_bias)
