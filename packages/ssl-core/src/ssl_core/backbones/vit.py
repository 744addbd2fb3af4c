"""Vision Transformer."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ssl_core.modules.transformer.blocks import Block, sine_cosine_positions
from ssl_core.modules.transformer.rotary import RotaryPositions, Rotation

Pool = Literal["class", "mean"]
Positions = Literal["sine_cosine", "rotary"]


class VisionTransformer(nn.Module):
    """Vision Transformer with pre-norm blocks (Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929).

    Linear layers, the patch projection among them, start Xavier-uniform with zero biases, as in MAE (He et al. 2022).

    Parameters
    ----------
    image_shape : tuple of int
        ``(C, H, W)``; ``patch_size`` divides H and W. Images of other sizes are accepted; see :meth:`tokens`.
    patch_size : int
        Side p of a patch in pixels; an image has L = (H / p) (W / p) patches.
    width : int
        D, a multiple of 4 and of ``num_heads``. ``num_features`` is D.
    depth, num_heads : int
        Number of blocks, and of attention heads in each. The hidden layer of a block has 4 D units.
    pool : {"class", "mean"}
        The feature: the class token, or the mean of the patches (then there is no class token).
    registers : int
        Number of extra tokens R without an output (Darcet et al. 2024, https://arxiv.org/abs/2309.16588).
    drop_path : float
        Stochastic depth (Huang et al. 2016): probability that a branch of the last block is dropped, for each sample; it
        rises linearly from 0 at the first block.
    causal : bool
        Whether each token attends only to itself and earlier ones, as in AIM (El-Nouby et al. 2024).
    checkpointing : bool
        Whether to recompute the activations of a block in the backward pass: less memory for about a third more time.
    positions : {"sine_cosine", "rotary"}
        The fixed two-dimensional sines and cosines of MoCo v3 (Chen, Xie & He 2021), which are added to the patches; or the
        rotations of DINOv3, :class:`~ssl_core.modules.transformer.rotary.RotaryPositions`, for heads of a multiple of 4
        dimensions. Neither has a state.

    Attributes
    ----------
    num_prefix_tokens : int
        Tokens before the patches: the class token, if there is one, then the registers.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        patch_size: int,
        width: int,
        depth: int,
        num_heads: int,
        pool: Pool = "class",
        registers: int = 0,
        drop_path: float = 0.0,
        causal: bool = False,
        checkpointing: bool = False,
        positions: Positions = "sine_cosine",
    ) -> None:
        super().__init__()
        channels, height, widthwise = image_shape
        self.image_shape, self.patch_size = image_shape, patch_size
        self.num_features = width
        self.grid = height // patch_size, widthwise // patch_size
        self.checkpointing = checkpointing
        self.patches = nn.Conv2d(channels, width, patch_size, stride=patch_size)
        # One-dimensional, so that the optimizers treat it as a bias: no weight decay
        self.class_token = nn.Parameter(torch.zeros(width)) if pool == "class" else None
        self.registers = nn.Parameter(torch.zeros(registers, width)) if registers else None
        self.num_prefix_tokens = (pool == "class") + registers
        rates = [drop_path * block / max(depth - 1, 1) for block in range(depth)]
        self.blocks = nn.Sequential(*(Block(width, num_heads, rate, causal) for rate in rates))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.layer_prefixes = [
            ("patches", "class_token", "registers"),
            *((f"blocks.{block}",) for block in range(depth)),
        ]
        self.positions: Tensor
        self.register_buffer("positions", sine_cosine_positions(*self.grid, width), persistent=False)
        self.rotary = RotaryPositions(width // num_heads) if positions == "rotary" else None
        self._initialize()

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.patches.weight.flatten(1))  # a view: the projection is one linear layer
        nn.init.zeros_(self.patches.bias)  # type: ignore[arg-type]
        for token in (self.class_token, self.registers):
            if token is not None:
                nn.init.normal_(token, std=0.02)

    def no_weight_decay(self) -> set[str]:
        """Return the names of parameters without weight decay, in addition to those of one dimension."""
        return {"registers"} if self.registers is not None else set()

    def tokens(
        self,
        x: Tensor,
        keep: Tensor | None = None,
        mask: Tensor | None = None,
        mask_token: Tensor | None = None,
        attend: Tensor | None = None,
    ) -> Tensor:
        """Return all tokens after the last norm.

        Parameters
        ----------
        x : Tensor
            Images ``(N, C, H, W)`` of any size that the patch size divides. The positions of another size are those of the
            same places in the image.
        keep : Tensor, optional
            Indices of the patches to compute, ``(N, K) int64``: the others cost nothing (MAE).
        mask : Tensor, optional
            ``(N, L) bool``: True where the patch is replaced by ``mask_token`` ``(D,)`` before its position is added
            (BEiT, SimMIM, iBOT).
        mask_token : Tensor, optional
            Required with ``mask``. It belongs to the method, so that the backbone is the same with and without it.
        attend : Tensor, optional
            ``(N, 1, T, T) bool`` over all T tokens: True where a token (row) may attend to another (column), as in AIM.

        Returns
        -------
        Tensor
            ``(N, P + L, D)``, or ``(N, P + K, D)`` with ``keep``: the P prefix tokens first.

        Raises
        ------
        ValueError
            For images with another number of channels, or a size that the patch size does not divide.
        """
        return self._encode(self.embed(x, keep, mask, mask_token), attend, self._rotation(x, keep))

    def forward_dense(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features ``(N, D)`` of :meth:`forward` and the feature map ``(N, D, h, w)``, the tokens of the patches."""
        tokens = self._encode(self.embed(x), rotation=self._rotation(x))
        patches = tokens[:, self.num_prefix_tokens :].transpose(1, 2)
        return self.pool(tokens), patches.unflatten(2, (x.shape[2] // self.patch_size, x.shape[3] // self.patch_size))

    def intermediate_tokens(
        self,
        x: Tensor,
        blocks: Sequence[int],
        keep: Tensor | None = None,
        mask: Tensor | None = None,
        mask_token: Tensor | None = None,
    ) -> list[Tensor]:
        """Return the tokens after the chosen blocks, before the last norm.

        Parameters
        ----------
        blocks : sequence of int
            Numbers of blocks; negative ones count from the end. The other parameters are those of :meth:`tokens`.

        Returns
        -------
        list of Tensor
            ``(N, P + L, D)`` each, in the order of ``blocks``.
        """
        numbers = [block % len(self.blocks) for block in blocks]
        return self._run(self.embed(x, keep, mask, mask_token), numbers, rotation=self._rotation(x, keep))

    def patch_embeddings(self, x: Tensor) -> Tensor:
        """Return the projected patches of images ``(N, C, H, W)``, without positions: ``(N, L, D)``."""
        return self._project(x)

    def _project(self, x: Tensor) -> Tensor:
        size = self.patch_size
        if x.shape[1] != self.image_shape[0] or x.shape[2] % size or x.shape[3] % size:
            raise ValueError(
                f"images {tuple(x.shape[1:])}: expected {self.image_shape[0]} channels and sides that are multiples of "
                f"patch_size={size}"
            )
        return self.patches(x).flatten(2).transpose(1, 2)

    def embed(
        self, x: Tensor, keep: Tensor | None = None, mask: Tensor | None = None, mask_token: Tensor | None = None
    ) -> Tensor:
        """Return the input of the first block: prefix tokens, and patches with their positions."""
        size, tokens = self.patch_size, self._project(x)
        if mask is not None:
            if mask_token is None:
                raise ValueError("mask without mask_token: expected both")
            tokens = torch.where(mask[..., None], mask_token.to(tokens.dtype), tokens)
        if self.rotary is None:
            tokens = tokens + self.positions_of((x.shape[2] // size, x.shape[3] // size))
        if keep is not None:
            tokens = tokens.gather(1, keep[..., None].expand(-1, -1, tokens.shape[2]))
        prefix = [
            token.to(tokens.dtype).view(1, -1, self.num_features).expand(len(x), -1, -1)
            for token in self._prefix_tokens()
        ]
        return torch.cat([*prefix, tokens], dim=1) if prefix else tokens

    def positions_of(self, grid: tuple[int, int]) -> Tensor:
        """Return the positions of a grid of patches, ``(L, D)``: those of the same places in an image of ``image_shape``.

        Positional encodings of sines and cosines are functions of the place, so nothing has to be interpolated.
        """
        if grid == self.grid:
            return self.positions
        return _positions(grid, self.num_features, self.grid, self.positions.device, self.positions.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return features ``(N, D)`` of images ``(N, C, H, W)``."""
        return self.pool(self._encode(self.embed(x), rotation=self._rotation(x)))

    def pool(self, tokens: Tensor) -> Tensor:
        """Return the feature ``(N, D)`` of the tokens: the class token, or the mean of the patches."""
        return tokens[:, self.num_prefix_tokens :].mean(1) if self.class_token is None else tokens[:, 0]

    def _prefix_tokens(self) -> list[Tensor]:
        return [token for token in (self.class_token, self.registers) if token is not None]

    def _rotation(self, x: Tensor, keep: Tensor | None = None) -> Rotation | None:
        """Return the rotation of the tokens of images; None for positions that are added."""
        if self.rotary is None:
            return None
        grid = x.shape[2] // self.patch_size, x.shape[3] // self.patch_size
        return self.rotary(grid, self.num_prefix_tokens, x, keep)

    def _encode(self, tokens: Tensor, attend: Tensor | None = None, rotation: Rotation | None = None) -> Tensor:
        """Return the tokens after the last norm. :meth:`tokens` and :meth:`forward` share it: FSDP wraps both of them."""
        return self.norm(self._run(tokens, [len(self.blocks) - 1], attend, rotation)[0])

    def _run(
        self, tokens: Tensor, blocks: Sequence[int], attend: Tensor | None = None, rotation: Rotation | None = None
    ) -> list[Tensor]:
        """Return the tokens after the chosen blocks."""
        outputs = {}
        for number, block in enumerate(self.blocks):
            if self.checkpointing and torch.is_grad_enabled():
                tokens = checkpoint(block, tokens, attend, rotation, use_reentrant=False)
            else:
                tokens = block(tokens, attend, rotation)
            if number in blocks:
                outputs[number] = tokens
        return [outputs[number] for number in blocks]


@lru_cache(maxsize=16)
def _positions(
    grid: tuple[int, int], width: int, within: tuple[int, int], device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Return the positions of a grid of another size; multi-crop needs them in every step."""
    return sine_cosine_positions(*grid, width, within).to(device, dtype)
