"""How a sample of any kind and shape is shown: as an image, lines, bars or words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ssl_data.augment.functions import described
from ssl_data.errors import ArgumentError

MAX_BARS = 32  # numbers of a table that are shown as bars; more are a line
_MAX_LINES = 16  # channels of a waveform (channels, length)
_LONG = 4  # length of a waveform over its channels, at least
_PERCENTILES = (1, 99)  # of the values, which become black and white
_COLORS = (1, 3, 4)  # channels of an array (H, W, C) from PIL, OpenCV, ...

Limits = tuple[NDArray[np.float64], NDArray[np.float64]]  # lowest and highest value of each band shown


@dataclass(frozen=True)
class Panel:
    """What is drawn, before its values are scaled.

    ``values`` is ``(H, W, B)`` of an image with B = 1 or 3 bands, ``(n, L)`` of n lines, ``(F,)`` of bars, or a text.
    """

    kind: str  # "image", "lines", "bars" or "text"
    values: Any
    note: str = ""  # what of the sample is shown, where that is not all

    @property
    def height(self) -> float:
        """Height over width of the panel: at most 1, so that wide images leave no gap."""
        if self.kind != "image":
            return 0.6
        rows, columns = self.values.shape[:2]
        return 1.0 if rows >= columns else max(rows / columns, 0.4)


def to_panel(value: Any, bands: Sequence[int] | None = None, channels_last: bool = False) -> Panel:
    """Return how a sample or a view is shown.

    Parameters
    ----------
    value : object
        A tensor or array: ``(C, H, W)``, or ``(H, W, C)`` with ``channels_last``; ``(H, W)``; a volume ``(C, D, H, W)`` or a
        video ``(T, C, H, W)``, whose middle slice is shown; ``(channels, length)`` with few channels, such as a waveform;
        ``(F,)``; or a PIL image. A mapping or a tuple is shown by its first tensor, array or image, anything else in words.
    bands : sequence of int, optional
        One or three bands to show, from 0. Default: the first three, or the first of two.

    Raises
    ------
    ArgumentError
        For a band that the image does not have.
    """
    inner = _first_array(value)
    if inner is None:
        return Panel("text", value if isinstance(value, str) else described(value))
    if isinstance(inner, Image.Image):
        inner, channels_last = np.asarray(inner), True
    array = _plain(inner)
    if array.ndim == 2 and len(array) == 1:
        array = array[0]
    notes = [] if inner is value or isinstance(value, Image.Image) else ["the first array of it"]
    while array.ndim > 3:
        is_volume = (
            array.ndim == 4 and len(array) in (1, 3) and array.shape[1] not in (1, 3)
        )  # else frames (T, C, H, W)
        depth = array.shape[int(is_volume)]
        notes.append(f"slice {depth // 2} of {depth}")
        array = array.take(depth // 2, axis=int(is_volume))
    if array.size == 0 or array.ndim == 0:
        return Panel("text", f"{array.item():.4g}" if array.size == 1 else described(inner))
    if array.ndim == 1:
        return Panel("bars" if len(array) <= MAX_BARS else "lines", array if len(array) <= MAX_BARS else array[None])
    if array.ndim == 3 and array.shape[:2] == (1, 1):
        return to_panel(array[0, 0], bands)
    if array.ndim == 2 and len(array) <= _MAX_LINES and array.shape[1] >= _LONG * len(array):
        return Panel("lines", array)
    if array.ndim == 2:
        array = array[..., None]
    elif not channels_last:
        is_last = isinstance(inner, np.ndarray) and array.shape[2] in _COLORS and array.shape[0] not in _COLORS
        array = array if is_last else array.transpose(1, 2, 0)
    image, shown = choose_bands(array, bands)
    return Panel("image", image, ", ".join([*notes, *[shown] * bool(shown)]))


def choose_bands(image: NDArray[Any], bands: Sequence[int] | None) -> tuple[NDArray[Any], str]:
    """Return one or three bands of ``(H, W, C)``, and which ones these are, unless they are all."""
    count = image.shape[2]
    if bands is None:
        chosen = list(range(count)) if count in (1, 3) else [0, 1, 2] if count > 3 else [0]
    else:
        chosen = [int(band) for band in bands]
        if not all(0 <= band < count for band in chosen) or len(chosen) not in (1, 3):
            raise ArgumentError(
                "bands", chosen, f"expected one or three numbers from 0 to {count - 1}: an image has {_bands(count)}"
            )
    if chosen == list(range(count)):
        return image, ""
    shown = ", ".join(map(str, chosen))
    return image[..., chosen], f"{'band' if len(chosen) == 1 else 'bands'} {shown} of {count}"


def limits_of(panels: Sequence[Panel]) -> Limits | None:
    """Return the values that become black and white, of each band, the same for all ``panels``; None without an image.

    Values from 0 to 1, and 8-bit values, keep their range; others are stretched between two percentiles.
    """
    images = [panel.values for panel in panels if panel.kind == "image"]
    if not images:
        return None
    bands = max(image.shape[2] for image in images)
    if all(image.dtype == np.uint8 for image in images):
        return np.zeros(bands), np.full(bands, 255.0)
    lows, highs = np.zeros(bands), np.ones(bands)
    for band in range(bands):
        flat = [image[..., min(band, image.shape[2] - 1)].ravel() for image in images]
        values = np.concatenate(flat).astype(np.float64)
        values = values[np.isfinite(values)]
        if len(values):
            lows[band], highs[band] = np.percentile(values, _PERCENTILES)
    if images[0].dtype.kind == "f" and lows.min() >= 0 and highs.max() <= 1 and highs.max() > 0.1:
        return np.zeros(bands), np.ones(bands)
    if images[0].dtype == bool:
        return np.zeros(bands), np.ones(bands)
    return lows, np.where(highs > lows, highs, lows + 1)


def scaled(image: NDArray[Any], limits: Limits) -> NDArray[np.float64]:
    """Return an image ``(H, W, B)`` with its limits at 0 and 1; NaN and infinities become the middle."""
    low, high = (limit[: image.shape[2]] for limit in limits)
    with np.errstate(invalid="ignore"):
        shown = (image.astype(np.float64) - low) / (high - low)
    return np.where(np.isfinite(shown), shown, 0.5).clip(0, 1)


def described_limits(limits: Limits) -> str:
    """Return the limits in words; empty for values that are shown as they are."""
    low, high = limits
    if (low == 0).all() and ((high == 1).all() or (high == 255).all()):
        return ""
    return f"scale {low.min():.3g} to {high.max():.3g}"


def _bands(count: int) -> str:
    return f"{count} band{'' if count == 1 else 's'}"


def _first_array(value: Any) -> Any:
    """Return the value, or the first tensor, array or image that it contains; None if it contains nothing to draw."""
    if isinstance(value, Tensor | np.ndarray | Image.Image):
        return value
    if isinstance(value, Mapping | list | tuple):
        inner = value.values() if isinstance(value, Mapping) else value
        return next((found for found in map(_first_array, inner) if found is not None), None)
    return None


def _plain(value: Tensor | NDArray[Any]) -> NDArray[Any]:
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        return (value.float() if value.is_floating_point() else value).numpy()
    return value
