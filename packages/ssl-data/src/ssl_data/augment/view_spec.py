"""Specification of a view: its augmentations and their parameters. No torch is imported here."""

import math
from dataclasses import dataclass, fields, replace
from typing import Any

from ssl_data.suggestion import did_you_mean


@dataclass(frozen=True)
class ViewSpec:
    """One view of an image. Operations are applied in the order of the fields; a probability of 0 leaves one out.

    Images are float in [0, 1] until the normalisation; every operation that can leave the range clips back into it.
    """

    size: int = 32  # pixels: height and width of the view
    resize: int = 0  # pixels that the shorter side is resized to before the centre is cut out; 0: size. Not with a crop
    crop_scale: tuple[float, float] = (1.0, 1.0)  # share of the image's area that a random resized crop keeps
    crop_ratio: tuple[float, float] = (1.0, 1.0)  # its width divided by its height, drawn log-uniformly
    interpolation: str = "bilinear"  # or "bicubic": of the resizing, antialiased
    flip: float = 0.0  # probability of a horizontal flip
    rotation: float = 0.0  # degrees: drawn from [-rotation, rotation]
    translate: float = 0.0  # share of the edge: shift in x and in y drawn from [-translate, translate]
    zoom: tuple[float, float] = (1.0, 1.0)  # factor of the affine map
    shear: float = 0.0  # degrees: drawn from [-shear, shear], in x
    jitter: float = 0.0  # probability of the colour jitter (brightness, contrast, saturation, hue, in random order)
    brightness: float = 0.0  # factor drawn from [1 - brightness, 1 + brightness]
    contrast: float = 0.0  # likewise
    saturation: float = 0.0  # likewise
    hue: float = 0.0  # turn of the colour circle drawn from [-hue, hue], at most 0.5
    grayscale: float = 0.0  # probability of losing the colours
    blur: float = 0.0  # probability of a Gaussian blur
    blur_sigma: tuple[float, float] = (0.1, 2.0)  # pixels
    solarize: float = 0.0  # probability of inverting the pixels above one half
    noise: float = 0.0  # standard deviation of Gaussian noise, in the range [0, 1] of the pixels
    mean: tuple[float, ...] = (0.0,)  # subtracted, one a channel (or one for all)
    std: tuple[float, ...] = (1.0,)  # divided by, likewise

    def __post_init__(self) -> None:
        for field in fields(self):
            numbers = getattr(self, field.name)
            for number in numbers if isinstance(numbers, tuple) else (numbers,):
                if isinstance(number, float) and not math.isfinite(number):
                    raise ValueError(f"data.views: {field.name}={numbers}: expected finite numbers")
        for name in ("rotation", "translate", "shear", "noise"):
            if getattr(self, name) < 0:
                raise ValueError(f"data.views: {name}={getattr(self, name)}: expected at least 0")
        if self.shear >= 90:
            raise ValueError(f"data.views: shear={self.shear}: expected less than 90 degrees")
        for name in ("flip", "jitter", "grayscale", "blur", "solarize"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"data.views: {name}={value}: expected a probability from 0 to 1")
        if self.size < 1:
            raise ValueError(f"data.views: size={self.size}: expected at least 1 pixel")
        if self.resize and (self.cropped or self.resize < self.size):
            raise ValueError(
                f"data.views: resize={self.resize}: expected at least size={self.size}, and no random crop"
            )
        if self.interpolation not in ("bilinear", "bicubic"):
            raise ValueError(f"data.views: interpolation={self.interpolation!r}: expected 'bilinear' or 'bicubic'")
        for name in ("crop_scale", "crop_ratio", "zoom", "blur_sigma"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(
                    f"data.views: {name}={(low, high)}: expected two numbers above 0, the smaller one first"
                )
        if self.blur and self.size < 2:
            raise ValueError(f"data.views: blur={self.blur}: expected a view of at least 2 pixels")
        if self.crop_scale[1] > 1:
            raise ValueError(f"data.views: crop_scale={self.crop_scale}: expected shares of the area, at most 1")
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"data.views: hue={self.hue}: expected 0 to 0.5 of the colour circle")
        for name in ("brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"data.views: {name}={getattr(self, name)}: expected 0 to 1")
        if min(self.std) <= 0:
            raise ValueError(f"data.views: std={self.std}: expected numbers above 0")

    @property
    def cropped(self) -> bool:
        """Whether the view is a random resized crop; else it is the centre of the resized image."""
        return self.crop_scale != (1.0, 1.0) or self.crop_ratio != (1.0, 1.0)

    @property
    def blur_kernel_size(self) -> int:
        """The width of the blur's kernel in pixels: a tenth of the view, made odd (Chen et al. 2020), at least 3."""
        return max(3, int(0.1 * self.size) // 2 * 2 + 1)

    @property
    def affine(self) -> bool:
        """Whether the view is rotated, shifted, zoomed or sheared at all."""
        return self.rotation != 0 or self.translate != 0 or self.zoom != (1.0, 1.0) or self.shear != 0

    def statistics(self, channels: int) -> tuple[list[float], list[float]]:
        """Return the mean and one over the deviation of each of ``channels``; raise for another number of them."""
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) not in (1, channels):
                raise ValueError(
                    f"data.views: {name}={numbers}: expected one number, or one for each of {channels} channels"
                )
        each = channels if len(self.mean) == 1 else 1, channels if len(self.std) == 1 else 1
        return list(self.mean) * each[0], [1 / deviation for deviation in self.std] * each[1]

    def changed(self, values: dict[str, Any]) -> "ViewSpec":
        """Return this spec with the values of a mapping from YAML; an unknown name is a ValueError with the nearest one."""
        known = {field.name for field in fields(self)}
        for name, value in values.items():
            if name not in known:
                hint = did_you_mean(str(name), known) or f"; expected one of {', '.join(sorted(known))}"
                raise ValueError(f"data.views: unknown operation {name!r}{hint}")
            expected = _expected(name)
            if not _is(expected, value):
                raise ValueError(f"data.views: {name}={value!r}: expected {expected}")
        numbers: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return replace(self, **numbers)


def _expected(name: str) -> str:
    """Return what a field holds, in words."""
    if name in ("mean", "std"):
        return "a list of numbers"
    kinds = {str: "a word", int: "a whole number", float: "a number", tuple: "a list of two numbers"}
    return kinds[type(getattr(ViewSpec, name))]


def _is(expected: str, value: Any) -> bool:
    """Return whether a value has the type that :func:`_expected` describes."""
    if expected == "a word":
        return isinstance(value, str)
    if expected == "a whole number":
        return isinstance(value, int) and not isinstance(value, bool)
    if expected == "a number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    many = isinstance(value, list | tuple) and all(_is("a number", each) for each in value)
    return many and len(value) > 0 and (expected == "a list of numbers" or len(value) == 2)
