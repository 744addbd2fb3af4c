"""Images of a run as PNG files: tensors, arrays and matplotlib figures."""

import io
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ssl_core.run.atomic_file import write_atomically
from ssl_core.run.folder import RunFolder

PART = r"[\w=,.+-]*\w[\w=,.+-]*"  # with a letter or digit: not ".."
NAME = re.compile(rf"{PART}(/{PART})*")


def save_image(folder: RunFolder, step: int, name: str, image: Any) -> Path:
    """Save an image as ``<run>/images/<name>/step_<n>.png`` and return the path.

    Parameters
    ----------
    folder : RunFolder
        The run folder.
    step : int
        Optimizer steps so far.
    name : str
        For example ``"views"`` or ``"eval/reconstruction"``. Raises a ValueError if it is not a relative path.
    image : Tensor, array or matplotlib figure
        See :func:`to_pixels`. A figure is drawn and stays open.
    """
    if not NAME.fullmatch(name):
        raise ValueError(
            f"log_image({name!r}): expected a name of letters, digits and _ - . = , +, with / between parts"
        )
    file = io.BytesIO()
    if hasattr(image, "savefig"):
        image.savefig(file, format="png", bbox_inches="tight")
    else:
        Image.fromarray(to_pixels(name, image)).save(file, format="png")
    path = folder.images / name / f"step_{step:08d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, file.getvalue())
    return path


def to_pixels(name: str, image: Any) -> np.ndarray:
    """Return an image as ``(H, W)``, ``(H, W, 3)`` or ``(H, W, 4) uint8``; raise a ValueError for another shape or dtype.

    The image is ``(C, H, W)``, ``(H, W, C)`` or ``(H, W)`` with C = 1, 3 or 4. Where both are possible a tensor is read as
    ``(C, H, W)`` and an array as ``(H, W, C)``. It is ``uint8`` in 0..255, ``bool``, or floating point in [0, 1]: values
    outside are clipped with a warning, NaN is black.
    """
    is_tensor = isinstance(image, torch.Tensor)
    if is_tensor:
        image = image.detach()
        image = (image.float() if image.is_floating_point() else image).cpu().numpy()
    pixels = np.asarray(image)
    first, last = (pixels.ndim == 3 and pixels.shape[axis] in (1, 3, 4) for axis in (0, -1))
    if pixels.ndim != 2 and not first and not last:
        raise ValueError(
            f"log_image({name!r}): expected (C, H, W), (H, W, C) or (H, W) with C = 1, 3 or 4, got {pixels.shape}; "
            "torchvision.utils.make_grid makes one image of a batch"
        )
    if first and (is_tensor or not last):
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.float32)
    if np.issubdtype(pixels.dtype, np.floating):
        if np.nanmin(pixels, initial=0.0) < -1e-3 or np.nanmax(pixels, initial=0.0) > 1 + 1e-3:
            warnings.warn(
                f"log_image({name!r}): values outside [0, 1] are clipped; of a normalised view, log view * std + mean",
                stacklevel=4,
            )
        pixels = (np.nan_to_num(pixels, nan=0.0).clip(0.0, 1.0) * 255.0).round()
    elif pixels.dtype != np.uint8:
        raise ValueError(f"log_image({name!r}): expected uint8, bool or floating point, got {pixels.dtype}")
    return np.ascontiguousarray(pixels.astype(np.uint8))
