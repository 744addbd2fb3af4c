"""Parts of transformers: blocks, cross-attention blocks, stochastic depth, positions."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core.modules.transformer.rotary import Rotation, rotate


class Block(nn.Module):
    """Pre-norm transformer block: ``x + attention(norm(x))``, then ``x + mlp(norm(x))``.

    Parameters
    ----------
    width : int
        D, a multiple of ``num_heads``. The hidden layer has 4 D units.
    num_heads : int
        Number of attention heads.
    drop_path : float
        Probability that a branch is dropped, for each sample. See :class:`DropPath`.
    causal : bool
        Each token attends to itself and earlier ones only.
    """

    def __init__(self, width: int, num_heads: int, drop_path: float = 0.0, causal: bool = False) -> None:
        super().__init__()
        self.num_heads, self.causal = num_heads, causal
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, attend: Tensor | None = None, rotation: Rotation | None = None) -> Tensor:
        """Return tokens ``(N, L, D)`` for tokens ``(N, L, D)``; ``attend`` and ``rotation`` as in :func:`attention`."""
        q, k, v = self.qkv(self.norm1(x)).chunk(3, dim=2)
        x = x + self.drop_path(self.out(attention(q, k, v, self.num_heads, self.causal, attend, rotation)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class CrossBlock(nn.Module):
    """Pre-norm block whose tokens attend to others: ``x + attention(norm(x), norm(context))``, then ``x + mlp(norm(x))``.

    As in CrossMAE (Fu et al. 2024, https://arxiv.org/abs/2401.14391), the tokens do not attend to each other.

    Parameters
    ----------
    width, num_heads : int
        As in :class:`Block`.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.norm_context = nn.LayerNorm(width, eps=1e-6)
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Return tokens ``(N, M, D)`` for tokens ``(N, M, D)`` and a context ``(N, L, D)``."""
        k, v = self.kv(self.norm_context(context)).chunk(2, dim=2)
        x = x + self.out(attention(self.q(self.norm1(x)), k, v, self.num_heads))
        return x + self.mlp(self.norm2(x))


class DropPath(nn.Module):
    """Drop the branch of a residual block for random samples in training (Huang et al. 2016,
    https://arxiv.org/abs/1603.09382).

    Parameters
    ----------
    drop_prob : float
        Probability that the branch of a sample is dropped, in [0, 1). The branches that stay are scaled by
        ``1 / (1 - drop_prob)``.

    Raises
    ------
    ValueError
        For a probability outside [0, 1).
    """

    def __init__(self, drop_prob: float) -> None:
        super().__init__()
        if not 0 <= drop_prob < 1:
            raise ValueError(f"drop_prob={drop_prob}: expected a number in [0, 1)")
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` ``(N, ...)``, with random rows set to zero in training."""
        if not self.training or self.drop_prob == 0:
            return x
        scale = x.new_empty(len(x), *(1,) * (x.ndim - 1)).bernoulli_(1 - self.drop_prob).div_(1 - self.drop_prob)
        return x * scale


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    num_heads: int,
    causal: bool = False,
    attend: Tensor | None = None,
    rotation: Rotation | None = None,
) -> Tensor:
    """Return multi-head attention ``(N, M, D)`` of queries ``(N, M, D)`` to keys and values ``(N, L, D)``.

    ``attend`` ``(N, 1, M, L) bool`` is True where a query may attend to a key; it replaces ``causal``. ``rotation`` is that of
    the queries and of the keys, :class:`~ssl_core.modules.transformer.rotary.RotaryPositions`.
    """
    q, k, v = (x.unflatten(2, (num_heads, -1)).transpose(1, 2) for x in (q, k, v))
    if rotation is not None:
        q, k = rotate(q, rotation), rotate(k, rotation)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=attend, is_causal=causal and attend is None)
    return out.transpose(1, 2).flatten(2)


class MaskToken(nn.Module):
    """The learned token that replaces masked patches (BEiT, SimMIM, data2vec, iBOT).

    ``mask_token()`` returns it, ``(width,)``. It is a module of its own, and not a parameter of the method, because sharded
    weights (FSDP) are whole only while the module that owns them computes.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self) -> Tensor:
        """Return the token ``(width,)``: a copy, which outlives the gathered weight of FSDP."""
        return self.weight.clone()


def sine_cosine_positions(rows: int, columns: int, width: int, within: tuple[int, int] | None = None) -> Tensor:
    """Return the positions of a grid of patches, row by row: ``(rows * columns, width) float32``.

    A quarter of the width each: sine and cosine of the column, then of the row, at frequencies from 1 to 1 / 10,000
    (MoCo v3, Chen, Xie & He 2021, https://arxiv.org/abs/2104.02057).

    Parameters
    ----------
    within : tuple of int, optional
        Rows and columns of the grid in whose coordinates the places are given. Default: ``(rows, columns)``.
    """
    row, column = (
        # Centres of the patches coincide: -0.5 is the border of the image in both grids
        (torch.arange(count, dtype=torch.float64) + 0.5) * (reference / count) - 0.5
        for count, reference in zip((rows, columns), within or (rows, columns))
    )
    half = width // 4 * 2
    column, row = sine_cosine(column, half).repeat(rows, 1), sine_cosine(row, half).repeat_interleave(columns, dim=0)
    return torch.cat([column, row], dim=1).float()


def sine_cosine(places: Tensor, width: int) -> Tensor:
    """Return sine, then cosine, of places ``(L,) float64`` at frequencies from 1 to 1 / 10,000, ``(L, width) float64``.

    Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.5.
    """
    frequencies = 10_000 ** -(torch.arange(0, width, 2, dtype=torch.float64, device=places.device) / width)
    angles = places[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :width]
