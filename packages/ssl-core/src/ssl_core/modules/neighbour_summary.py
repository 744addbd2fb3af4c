"""Transformer that summarises the neighbours of a sample."""

import torch
from torch import Tensor, nn

from ssl_core.errors import ConfigError
from ssl_core.modules.transformer.blocks import sine_cosine


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
        Dropout probability of attention and hidden layers.

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
        # Of the rank of the neighbour; the published code of All4One encodes the dimension of the embedding instead
        ranks = torch.arange(x.shape[1], dtype=torch.float64, device=x.device)
        return self.layers(x + sine_cosine(ranks, x.shape[2]).to(x.dtype))[:, 0]
