"""Transformer that summarises the neighbours of a sample."""

import torch
from torch import Tensor, nn

from ssl_core.errors import ConfigError


class NeighbourSummary(nn.Module):
    """Transformer layers over a sequence of embeddings; the output of the first one is the summary.

    The centroid of All4One (Estepa, Sarasua, Nagarajan & Radeva 2023, https://arxiv.org/abs/2303.09417).

    Parameters
    ----------
    width : int
        D, a multiple of ``num_heads``.
    num_heads, num_layers : int
        Attention heads, and layers.
    dropout : float
        Of attention and hidden layers.

    Raises
    ------
    ConfigError
        For heads that cannot share the width.
    """

    def __init__(self, width: int, num_heads: int = 8, num_layers: int = 3, dropout: float = 0.1) -> None:
        super().__init__()
        if width % num_heads:
            expected = f"a divisor of the width of the embeddings, {width}"
            raise ConfigError(key="model.num_heads", value=num_heads, expected=expected)
        layer = nn.TransformerEncoderLayer(width, num_heads, 2 * width, dropout, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the summary ``(N, D)`` of embeddings ``(N, k, D)``, the nearest neighbour first."""
        return self.layers(x + positions(x.shape[1], x.shape[2]).to(x))[:, 0]


def positions(length: int, width: int) -> Tensor:
    """Return sine and cosine of the positions 0 to length - 1, ``(length, width)`` (Vaswani et al. 2017, section 3.5).

    The published code of All4One encodes the dimension of the embedding instead of the rank of the neighbour.
    """
    frequencies = 10_000 ** -(torch.arange(0, width, 2) / width)
    angles = torch.arange(length)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :width]
