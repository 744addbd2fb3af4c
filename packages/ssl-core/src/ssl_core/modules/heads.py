"""Heads: the small networks between the backbone and the loss."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_NORMS: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


def mlp(
    sizes: Sequence[int],
    norm: str = "batch",
    last_norm: bool = False,
    bias: bool | None = None,
    last_bias: bool | None = None,
    last_affine: bool = True,
    activation: str = "relu",
) -> nn.Sequential:
    """Return linear layers with normalisation and ReLU between them: ``(N, sizes[0])`` to ``(N, sizes[-1])``.

    SimCLR (Chen et al. 2020) is ``mlp([D, D, 128], last_norm=True)``, Barlow Twins (Zbontar et al. 2021) and VICReg
    (Bardes et al. 2022) ``mlp([D, 8192, 8192, 8192], last_bias=False)``, the predictor of BYOL (Grill et al. 2020)
    ``mlp([256, 4096, 256])``.

    Parameters
    ----------
    sizes : sequence of int
        Widths of input, hidden layers and output; at least two. Two give one linear layer.
    norm : {"batch", "layer", "none"}
        Normalisation between a hidden linear layer and its ReLU. In a run, batch statistics are those of all ranks.
    last_norm : bool
        Whether the last linear layer is followed by the same normalisation, without a ReLU.
    bias, last_bias : bool, optional
        Whether the hidden linear layers, and the last, have a bias. Default: where no normalisation follows,
        which has its own.
    last_affine : bool
        Whether the last normalisation has a scale and a shift. SimSiam and MoCo v3: False.
    activation : {"relu", "gelu"}
        Activation after each hidden layer. DINO: "gelu".

    Raises
    ------
    ValueError
        For fewer than two sizes, a size below 1, an unknown norm or activation, or ``last_norm`` without a norm.

    Examples
    --------
    >>> [type(layer).__name__ for layer in mlp([512, 512, 128])]
    ['Linear', 'BatchNorm1d', 'ReLU', 'Linear']
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"sizes={list(sizes)!r}: expected at least two widths, input and output, each at least 1")
    if norm not in (*_NORMS, "none"):
        raise ValueError(f"norm={norm!r}: expected one of 'batch', 'layer', 'none'")
    if last_norm and norm == "none":
        raise ValueError("last_norm=True with norm='none': choose norm='batch' or 'layer', or leave last_norm out")
    if activation not in ("relu", "gelu"):
        raise ValueError(f"activation={activation!r}: expected one of 'relu', 'gelu'")
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes[:-1]):
        layers.append(nn.Linear(inputs, outputs, bias=norm == "none" if bias is None else bias))
        if norm != "none":
            layers.append(_NORMS[norm](outputs))
        layers.append(nn.ReLU(inplace=True) if activation == "relu" else nn.GELU())
    layers.append(nn.Linear(sizes[-2], sizes[-1], bias=not last_norm if last_bias is None else last_bias))
    if last_norm:
        affine = {"affine" if norm == "batch" else "elementwise_affine": last_affine}
        layers.append(_NORMS[norm](sizes[-1], **affine))
    return nn.Sequential(*layers)


def dino_head(sizes: Sequence[int], num_prototypes: int, learn_norm: bool = False) -> nn.Sequential:
    """Return the head of DINO (Caron et al. 2021, https://arxiv.org/abs/2104.14294, appendix C): an MLP, then prototypes.

    Parameters
    ----------
    sizes : sequence of int
        Widths of input, hidden layers and bottleneck, e.g. ``[384, 2048, 2048, 256]``. GELU, no normalisation; weights are
        normal with standard deviation 0.02, truncated at 2, and biases zero.
    num_prototypes, learn_norm
        As in :class:`Prototypes`.

    Returns
    -------
    nn.Sequential
        ``(..., sizes[0])`` to ``(..., num_prototypes)``. The last module is the :class:`Prototypes`.
    """
    projector = truncated_normal(mlp(sizes, norm="none", activation="gelu"))
    return nn.Sequential(projector, Prototypes(sizes[-1], num_prototypes, learn_norm))


def truncated_normal(head: nn.Sequential, std: float = 0.02) -> nn.Sequential:
    """Initialise the linear layers of a head as DINO and MSN do: truncated normal weights, zero biases. Return the head."""
    for layer in head:
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return head


class Prototypes(nn.Module):
    """Cosine similarities to K prototypes: the last layer of DINO, a weight-normalised linear layer on unit vectors.

    Parameters
    ----------
    dimensions, num_prototypes : int
        D, the width of the vectors, and K, the number of prototypes.
    learn_norm : bool
        Whether to learn the norm of each prototype, ``norm`` ``(K, 1)``, which is 1 at first. False keeps it at 1, which is
        more stable (``norm_last_layer`` of the authors' code).

    References
    ----------
    Weight normalisation: Salimans & Kingma 2016, https://arxiv.org/abs/1602.07868.

    Examples
    --------
    >>> prototypes = Prototypes(2, 1)
    >>> bool(torch.allclose(prototypes(5 * prototypes.weight), torch.ones(1, 1)))
    True
    """

    def __init__(self, dimensions: int, num_prototypes: int, learn_norm: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_prototypes, dimensions).uniform_(-1, 1))
        self.norm = nn.Parameter(torch.ones(num_prototypes, 1)) if learn_norm else None
        with torch.no_grad():
            self.weight.mul_(dimensions**-0.5)  # the scale of nn.Linear, on which the effective learning rate depends

    def forward(self, x: Tensor) -> Tensor:
        """Return similarities ``(..., K)`` of vectors ``(..., D)`` of any length."""
        weight = F.normalize(self.weight, dim=1)
        return F.linear(F.normalize(x, dim=-1), weight if self.norm is None else weight * self.norm)
