"""Parts of autoregressive methods: which tokens attend to which, prefixes, and the prediction head of AIM."""

import torch
from torch import Tensor, nn

from ssl_core.modules.random_numbers import Stream, uniform


def prefix_lengths(ids: Tensor, num_patches: int, seed: int, epoch: int) -> Tensor:
    """Draw the length of each sample's prefix, uniform in 1 to ``num_patches - 1``: ``(N,) int64``.

    A pure function of ``(seed, epoch, sample id)``, see :mod:`ssl_core.modules.random_numbers`.
    """
    return 1 + (uniform(ids, 1, seed, epoch, Stream.MASK)[:, 0] * (num_patches - 1)).long()


def causal_attention(num_patches: int, prefix: Tensor | None = None, device: torch.device | None = None) -> Tensor:
    """Return which patch (row) attends to which (column), ``(N, 1, L, L) bool``, for ``attend`` of a backbone's ``tokens``.

    Each patch attends to itself and to earlier ones, row by row of the image, and to the whole prefix: patches of the prefix
    see each other in both directions (AIM).

    Parameters
    ----------
    num_patches : int
        L, number of patches.
    prefix : Tensor, optional
        Lengths of the prefixes ``(N,) int64``. Default: no prefix, one mask for all samples, ``(1, 1, L, L)``.
    device : torch.device, optional
        Device of the mask. Default: that of ``prefix``.
    """
    place = torch.arange(num_patches, device=prefix.device if prefix is not None else device)
    earlier = (place <= place[:, None])[None]
    return (earlier if prefix is None else earlier | (place < prefix[:, None])[:, None])[:, None]


class ResidualMLP(nn.Module):
    """The prediction head of AIM (El-Nouby et al. 2024, https://arxiv.org/abs/2401.08541): residual MLPs, each patch by itself.

    A linear layer to ``width``; ``depth`` times ``x + mlp(norm(x))`` with a hidden layer of 4 ``width`` units and GELU; a norm
    and a linear layer. As in AIM, no layer has a bias.

    Parameters
    ----------
    inputs, outputs : int
        Widths of a token and of a prediction.
    width, depth : int
        Width and number of the blocks.
    """

    def __init__(self, inputs: int, outputs: int, width: int = 2048, depth: int = 12) -> None:
        super().__init__()
        self.project = nn.Linear(inputs, width, bias=False)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, 4 * width, bias=False),
                nn.GELU(),
                nn.Linear(4 * width, width, bias=False),
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return predictions ``(..., outputs)`` for tokens ``(..., inputs)``."""
        x = self.project(tokens)
        for block in self.blocks:
            x = x + block(x)
        return self.head(self.norm(x))
