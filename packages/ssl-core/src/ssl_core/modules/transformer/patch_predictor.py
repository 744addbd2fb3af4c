"""Light transformer that predicts patches from the tokens of other patches."""

import torch
from torch import Tensor, nn

from ssl_core.modules.transformer.blocks import Block, CrossBlock, sine_cosine_positions


class PatchPredictor(nn.Module):
    """Decoder of MAE, predictor of I-JEPA: transformer blocks over encoded tokens and mask tokens.

    The tokens of the visible patches are projected to the width of the predictor; a learned mask token stands for each
    patch to predict; both get the positions of their patches.

    Parameters
    ----------
    grid : tuple of int
        Rows and columns of patches.
    inputs, outputs : int
        Width of the encoded tokens, and of a prediction: the encoder's D (I-JEPA), or p p C pixels (MAE).
    width : int
        Width of the predictor, a multiple of 4 and of ``num_heads``.
    depth, num_heads : int
        Number of blocks, and of attention heads in each.
    cross_attention : bool
        Mask tokens attend to the visible tokens only (CrossMAE, Fu et al. 2024; CAPI, Darcet et al. 2025). The cost of a
        block then grows with M K instead of (M + K)^2.

    References
    ----------
    He et al. 2022, https://arxiv.org/abs/2111.06377; Assran et al. 2023, https://arxiv.org/abs/2301.08243.
    """

    def __init__(
        self,
        grid: tuple[int, int],
        inputs: int,
        outputs: int,
        width: int = 512,
        depth: int = 8,
        num_heads: int = 16,
        cross_attention: bool = False,
    ) -> None:
        super().__init__()
        self.project = nn.Linear(inputs, width)
        self.mask_token = nn.Parameter(torch.zeros(width))
        block = CrossBlock if cross_attention else Block
        self.cross_attention = cross_attention
        self.blocks = nn.ModuleList(block(width, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, outputs)
        self.positions: Tensor
        self.register_buffer("positions", sine_cosine_positions(*grid, width), persistent=False)
        nn.init.normal_(self.mask_token, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor, keep: Tensor, predict: Tensor, visible: bool = False) -> Tensor:
        """Return a prediction for each patch to predict.

        Parameters
        ----------
        tokens : Tensor
            Encoded tokens ``(N, P + K, inputs)``: prefix tokens, which have no position, then those of the patches ``keep``.
        keep : Tensor
            Indices of the visible patches, ``(N, K) int64``.
        predict : Tensor
            Indices of the patches to predict, ``(N, M) int64``.
        visible : bool
            Also return the outputs of the visible patches, before the others; not with ``cross_attention``.

        Returns
        -------
        Tensor
            ``(N, M, outputs)``, or ``(N, K + M, outputs)``.
        """
        seen = self.project(tokens)
        prefix = tokens.shape[1] - keep.shape[1]
        seen = torch.cat([seen[:, :prefix], seen[:, prefix:] + self.positions[keep]], dim=1)
        masked = (self.mask_token + self.positions[predict]).to(seen.dtype)
        if self.cross_attention:
            for block in self.blocks:
                masked = block(masked, seen)
            return self.head(self.norm(masked))
        x = torch.cat([seen, masked], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x[:, prefix if visible else seen.shape[1] :]))
