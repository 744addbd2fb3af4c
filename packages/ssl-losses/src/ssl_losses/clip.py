"""CLIP: the contrastive loss between images and texts."""

import math

import torch
from torch import Tensor, nn

from ssl_losses.checks import check_embeddings
from ssl_losses.components.learned_scale import check_scale, on_all_ranks
from ssl_losses.distributed import mean_over_ranks
from ssl_losses.ops.normalize import unit_rows
from ssl_losses.precision import widened, without_autocast
from ssl_losses.similarity.pair_cross_entropy import matching_both_ways

LARGEST_SCALE = 100.0  # the paper keeps the learned scale below it


@without_autocast
def clip(images: Tensor, texts: Tensor, logit_scale: float | Tensor = 1 / 0.07) -> Tensor:
    r"""Return the loss of CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020).

    .. math::
        \frac{1}{2G} \sum_i \left[ -\log \frac{\exp(t s_{ii})}{\sum_k \exp(t s_{ik})}
        - \log \frac{\exp(t s_{ii})}{\sum_k \exp(t s_{ki})} \right], \qquad
        s_{ik} = \frac{x_i \cdot y_k}{‖x_i‖ ‖y_k‖}

    for images x and texts y of the global batch. The similarities are computed in tiles, each read by rows and by columns,
    and recomputed in the backward pass: memory grows with N·D, not with N².

    Parameters
    ----------
    images, texts : Tensor
        ``(N, D)`` float, row i of both belongs together; any scale, rows are normalised here. At least 2
        samples in the global batch.
    logit_scale : float or Tensor
        t, above 0, the inverse of a temperature: a number or a scalar tensor, which gets a gradient. The paper learns
        log t, from t = 1 / 0.07. The ``logit_scale`` of open_clip's models can be passed directly.

    Returns
    -------
    Tensor
        Scalar, float32 or float64, not negative: the mean over the global batch. A zero row has similarity 0 to all.

    Examples
    --------
    >>> x = torch.eye(3)
    >>> round(clip(x, x, logit_scale=1.0).item(), 4)  # log(1 + 2 / e)
    0.5514
    """
    check_scale(logit_scale=logit_scale)
    check_embeddings(images, texts, samples=2)
    x, y = (unit_rows(z) for z in widened((images, texts)))
    return mean_over_ranks(torch.stack(matching_both_ways(x, y, on_all_ranks(logit_scale, x))).mean())


class CLIPLoss(nn.Module):
    """:func:`clip` as a module that learns the logarithm of the scale: pass its parameter to the optimizer.

    In training mode the scale is first clamped to at most 100, the paper's limit. If the model has its own scale, as those
    of open_clip, call :func:`clip`.

    Parameters
    ----------
    logit_scale : float
        Initial value; the paper's 1 / 0.07.
    """

    def __init__(self, logit_scale: float = 1 / 0.07) -> None:
        super().__init__()
        check_scale(logit_scale=logit_scale)
        self.log_scale = nn.Parameter(torch.tensor(math.log(logit_scale)))

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        """Return the loss of images and texts ``(N, D)``."""
        if self.training:
            with torch.no_grad():
                self.log_scale.clamp_(max=math.log(LARGEST_SCALE))
        return clip(images, texts, self.log_scale.exp())
