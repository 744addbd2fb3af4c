"""Patches of images; checks and the mean of losses over masked patches.

``patchify`` is written by hand because ``torch.nn.functional.unfold`` orders the values of a patch by channel.
"""

import torch
from torch import Tensor

from ssl_losses.checks import problem_with_layout, problem_with_type
from ssl_losses.distributed import agree_on, all_reduce_with_gradient


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Split images into patches and return their pixels, ``(N, P, p·p·C)``.

    Patches are in row-major order, and so are the pixels in a patch; the channels of a pixel are adjacent. This is the order of
    MAE's published code (He et al. 2022, https://arxiv.org/abs/2111.06377).

    Parameters
    ----------
    images : Tensor
        ``(N, C, H, W)``, any dtype.
    patch_size : int
        p, side of a patch in pixels; divides H and W.

    Returns
    -------
    Tensor
        ``(N, P, p·p·C)``, P = (H / p) (W / p) patches, the dtype of the images.

    Raises
    ------
    ValueError
        For another shape, or a patch size that does not divide H and W.

    Examples
    --------
    >>> import torch
    >>> patchify(torch.arange(8.0).view(1, 1, 2, 4), patch_size=2).tolist()
    [[[0.0, 1.0, 4.0, 5.0], [2.0, 3.0, 6.0, 7.0]]]
    """
    if problem := problem_with_type("images", images):
        raise ValueError(problem)
    if images.ndim != 4 or patch_size < 1 or images.shape[2] % patch_size or images.shape[3] % patch_size:
        raise ValueError(
            f"images must be (N, C, H, W) with H and W divisible by patch_size={patch_size}, got shape "
            f"{tuple(images.shape)}; resize or crop them"
        )
    rows = images.unflatten(3, (-1, patch_size)).unflatten(2, (-1, patch_size))  # (N, C, H/p, p, W/p, p)
    return rows.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def unpatchify(patches: Tensor, patch_size: int, rows: int) -> Tensor:
    """Return the images ``(N, C, H, W)`` of patches ``(N, P, p·p·C)``: the inverse of :func:`patchify`.

    ``rows`` is H / p, the number of patches below each other.

    Examples
    --------
    >>> import torch
    >>> images = torch.rand(2, 3, 8, 12)
    >>> torch.equal(unpatchify(patchify(images, 4), 4, rows=2), images)
    True
    """
    if patches.ndim != 3 or patches.shape[1] % rows or patches.shape[2] % patch_size**2:
        raise ValueError(
            f"patches must be (N, P, p·p·C) with P divisible by rows={rows} and p={patch_size}, got shape "
            f"{tuple(patches.shape)}"
        )
    pixels = patches.unflatten(2, (patch_size, patch_size, -1)).unflatten(1, (rows, -1))  # (N, H/p, W/p, p, p, C)
    return pixels.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)


def check_patches(prediction: Tensor, target: Tensor, mask: Tensor | None) -> None:
    """Raise ``ValueError`` unless every rank holds float patches of one shape ``(N, P, D)`` and a mask of ``(N, P)``.

    The ranks agree before any of them raises or continues.
    """
    agree_on((prediction, target), _problem(prediction, target, mask))


def _problem(prediction: Tensor, target: Tensor, mask: Tensor | None) -> str | None:
    """Return what is wrong with this rank's patches, if anything."""
    for name, patches in {"prediction": prediction, "target": target}.items():
        problem = problem_with_layout(name, patches, "(N, P, D)")
        if problem:
            return problem
    if prediction.shape != target.shape:
        return (
            f"prediction and target must have the same shape, got {tuple(prediction.shape)} and {tuple(target.shape)}; "
            "both are of all patches, or both of the masked ones without a mask"
        )
    return None if mask is None else problem_with_mask(mask, prediction)


def problem_with_mask(mask: Tensor, patches: Tensor) -> str | None:
    """Return what is wrong with the mask, ``(N, P)`` or ``(N, H, W)``, of patches ``(N, P, D)``, if anything."""
    if mask.dtype != torch.bool:
        return f"the mask must be bool, True where a patch is masked, got {mask.dtype}; mask.bool() converts"
    if mask.ndim < 2 or mask.flatten(1).shape != patches.shape[:2]:
        return (
            f"the mask must be (N, P) = {tuple(patches.shape[:2])} for patches {tuple(patches.shape)}, got shape "
            f"{tuple(mask.shape)}; it has one entry for each patch"
        )
    return None


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of ``values`` ``(N, P)`` where ``mask`` is True, over all ranks; 0 if it is True nowhere.

    A mean of the ranks' means would weigh a patch by how few others its rank has masked.
    """
    mask = mask.flatten(1)
    total, count = all_reduce_with_gradient(torch.stack([values.masked_fill(~mask, 0).sum(), mask.sum().to(values)]))
    return total / count.clamp(min=1)
