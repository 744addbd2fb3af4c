"""Linear depth probe: one linear layer on frozen patch tokens, by least squares."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_eval.metrics.depth import DepthCounter, DepthResult, measured
from ssl_eval.probes.dense.patches import (
    CHUNK_ROWS,
    Grid,
    check_maps,
    check_tokens,
    image_chunks,
    patch_sums,
    token_standardization,
    upsampled,
)
from ssl_eval.probes.dense.segmentation import held_out_images
from ssl_eval.probes.ridge import REGULARIZATIONS
from ssl_eval.results import Result
from ssl_eval.validation import check_even, check_real, chosen_from


@dataclass(frozen=True, eq=False, repr=False)
class DepthProbeResult(Result):
    """Result of :func:`depth_probe`.

    Attributes
    ----------
    rmse, abs_rel, delta1 : float
        On the measured pixels of the test images, as :func:`ssl_eval.depth_errors`.
    predictions : Tensor
        ``(M, H, W) float32``, in the unit of the depth.
    regularization : float
        The regularisation that was used, chosen or given.
    validation_rmses : dict
        Regularisation -> RMSE on the held-out training images; empty where the regularisation was given.
    weight, bias : Tensor
        ``(D,)`` and ``()``, float64, for tokens as they were given (the standardisation is folded in).
    """

    rmse: float
    abs_rel: float
    delta1: float
    predictions: Tensor
    regularization: float
    validation_rmses: dict[float, float]
    weight: Tensor
    bias: Tensor


@torch.no_grad()
def depth_probe(
    train_tokens: Tensor,
    train_depths: Tensor,
    test_tokens: Tensor,
    test_depths: Tensor,
    grid: Grid | None = None,
    regularization: float | None = None,
    candidates: Sequence[float] = REGULARIZATIONS,
    validation_fraction: float = 0.2,
    seed: int = 0,
) -> DepthProbeResult:
    """Fit a linear layer on frozen patch tokens to depth maps, and test it.

    Minimises the mean squared error of every measured pixel with the prediction of its patch, plus
    ``regularization * |weight|²`` over standardised tokens, in closed form; in scikit-learn's terms
    ``Ridge(alpha=pixels * regularization)``. The map of predictions is upsampled bilinearly to the size of the depth map and
    limited to the range of the training depths. The squared error is that of the RMSE. The linear depth evaluation of DINOv2
    instead has a classification into 256 bins of depth, the class token next to the patches, and a scale-invariant loss.

    Parameters
    ----------
    train_tokens, test_tokens : Tensor
        ``(N, L, D)`` and ``(M, L, D)``, the patches only, row by row, on one device. Computed in float64, a few images at a
        time.
    train_depths, test_depths : Tensor
        ``(N, H, W)`` and ``(M, H, W)``, in any unit; 0, NaN and infinity mark pixels that were not measured.
    grid : tuple of int, optional
        Height and width in patches. Default: a square.
    regularization : float, optional
        Above 0. Default: the candidate with the lowest RMSE on held-out training images; then all of them are fitted again.
    candidates : sequence of float
        Values to try, above 0.
    validation_fraction : float
        Share of the training images that is held out to choose the regularisation, in (0, 1).
    seed : int
        Random seed of the held-out images.

    Returns
    -------
    DepthProbeResult

    Raises
    ------
    ValueError
        If tokens hold NaN, shapes disagree, no pixel is measured, or an option is out of range.

    References
    ----------
    Oquab et al.: DINOv2, 2023, https://arxiv.org/abs/2304.07193, section 7.4 (depth from frozen features).

    Examples
    --------
    >>> tokens = torch.tensor([[[1.0], [2.0], [3.0], [4.0]]] * 4)
    >>> depths = tokens.view(4, 2, 2) + 1
    >>> found = depth_probe(tokens, depths, tokens, depths, regularization=1e-9)
    >>> f"{found.rmse:.4f}"
    '0.0000'
    """
    grid = check_tokens(train_tokens, test_tokens, grid)
    for name, tokens, maps in (
        ("train_depths", train_tokens, train_depths),
        ("test_depths", test_tokens, test_depths),
    ):
        check_real(name, maps)
        check_maps(name, maps, tokens, grid)
        if not bool(measured(maps).any()):
            raise ValueError(f"{name} must have a measured pixel, above 0; got none")
    candidates = chosen_from(regularization, candidates)
    if not 0 < validation_fraction < 1:
        raise ValueError(f"validation_fraction={validation_fraction}: expected between 0 and 1")
    check_even("train_tokens", train_tokens.flatten(1))
    mean, scale = token_standardization(train_tokens)
    known = measured(train_depths)
    limits = tuple(float(each) for each in torch.aminmax(train_depths[known].double()))

    def evaluate(tokens: Tensor, depths: Tensor, fitted: tuple[Tensor, Tensor]) -> tuple[DepthResult, Tensor]:
        return _predict(tokens, depths, grid, *fitted, limits)

    def moments(images: Tensor) -> Tensor:
        return _moments(train_tokens, train_depths, images, grid, mean, scale)

    images = known.flatten(1).any(1).nonzero()[:, 0]
    validation: dict[float, float] = {}
    chosen = candidates[0]
    if len(candidates) > 1:
        fitted, held_out = held_out_images(images, validation_fraction, seed, "regularization=0.01")
        first = moments(fitted)
        tokens = train_tokens[held_out.to(train_tokens.device)]
        for each in candidates:
            found = evaluate(tokens, train_depths[held_out], _solve(first, each, mean, scale))
            validation[each] = found[0].rmse
        chosen = min(validation, key=lambda each: validation[each])
        everything = first + moments(held_out)
    else:
        everything = moments(images)
    weight, bias = _solve(everything, chosen, mean, scale)
    errors, predictions = evaluate(test_tokens, test_depths, (weight, bias))
    return DepthProbeResult(errors.rmse, errors.abs_rel, errors.delta1, predictions, chosen, validation, weight, bias)


def _moments(tokens: Tensor, depths: Tensor, images: Tensor, grid: Grid, mean: Tensor, scale: Tensor) -> Tensor:
    """Return sums over measured pixels, ``(D + 2, D + 2)``: products of the standardised token, one, and the depth."""
    width = tokens.shape[2] + 2
    total = mean.new_zeros(width, width)
    for part in images.split(CHUNK_ROWS):
        maps = depths[part].double().to(tokens.device)
        known = measured(maps)
        pixels = patch_sums(known, grid).flatten()
        sums = patch_sums(maps.where(known, 0.0), grid).flatten()
        rows = pixels.nonzero()[:, 0]
        pixels, depth = pixels[rows], sums[rows] / pixels[rows]
        x = (tokens[part.to(tokens.device)].flatten(0, 1)[rows].double() - mean) / scale
        x = torch.cat([x, torch.ones_like(depth)[:, None], depth[:, None]], 1)
        total.addmm_(x.T, x * pixels[:, None])
    return total


def _solve(moments: Tensor, regularization: float, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return weight ``(D,)`` and bias ``()`` of the ridge regression, for tokens that are not standardised."""
    count = moments[-2, -2]
    center = moments[-2] / count  # of the fitted pixels: the standardisation is by all training tokens
    covariance = moments / count - torch.outer(center, center)
    width = len(mean)
    matrix = covariance[:width, :width] + regularization * torch.eye(width, dtype=mean.dtype, device=mean.device)
    weight = torch.linalg.solve(matrix, covariance[:width, -1])
    bias = center[-1] - weight @ center[:width]
    return weight / scale, bias - (weight / scale) @ mean


def _predict(
    tokens: Tensor, depths: Tensor, grid: Grid, weight: Tensor, bias: Tensor, limits: tuple[float, ...]
) -> tuple[DepthResult, Tensor]:
    size = depths.shape[1], depths.shape[2]
    counter = DepthCounter()
    predictions = torch.empty(depths.shape, dtype=torch.float32, device=tokens.device)
    for part in image_chunks(len(tokens), 4 * size[0] * size[1]):
        maps = (tokens[part].double() @ weight + bias).unflatten(1, grid)[:, None]
        predictions[part] = upsampled(maps, size)[:, 0].clamp(*limits).float()
        counter.update(predictions[part], depths[part])
    return counter.compute(), predictions
