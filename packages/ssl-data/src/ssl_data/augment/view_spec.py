"""Specification of a view: its augmentations and their parameters. No torch is imported here."""

import math
from dataclasses import dataclass, fields, replace
from typing import Any

from ssl_data.errors import ArgumentError
from ssl_data.suggestion import did_you_mean

_PROBABILITIES = ("flip", "jitter", "grayscale", "blur", "solarize")
_FACTORS = ("brightness", "contrast", "saturation")


@dataclass(frozen=True)
class ViewSpec:
    """One view of an image. Operations are applied in the order of the fields; a probability of 0 leaves one out.

    Images have 1 to 64 bands and are float in [0, 1] until the normalisation: stored values are mapped by the ``value_range``
    of the source. Every operation that can leave the range clips back into it.
    """

    size: int = 32  # height and width of the view in pixels
    resize: int = 0  # pixels that the shorter side is resized to before the centre is cut out; 0: size. Not with a crop
    crop_scale: tuple[float, float] = (1.0, 1.0)  # share of the image's area that a random resized crop keeps
    crop_ratio: tuple[float, float] = (1.0, 1.0)  # width of the crop divided by its height, drawn log-uniformly
    interpolation: str = "bilinear"  # interpolation of the resizing, antialiased: bilinear or bicubic
    flip: float = 0.0  # probability of a horizontal flip
    rotation: float = 0.0  # rotation in degrees, drawn from [-rotation, rotation]
    translate: float = 0.0  # share of the side: shift in x and in y, drawn from [-translate, translate],
    # in fractions of a pixel (torchvision's RandomAffine rounds to pixels)
    zoom: tuple[float, float] = (1.0, 1.0)  # range of the zoom factor
    shear: float = 0.0  # shear in x in degrees, drawn from [-shear, shear]
    jitter: float = 0.0  # probability of the colour jitter (brightness, contrast, saturation, hue, in random order)
    brightness: float = 0.0  # factor drawn from [max(0, 1 - brightness), 1 + brightness]
    contrast: float = 0.0  # as brightness; about the mean grey value, without RGB about the mean of all bands
    saturation: float = (
        0.0  # as brightness. Saturation, hue and grayscale need RGB; one band is unchanged, others raise
    )
    hue: float = 0.0  # turn of the colour circle drawn from [-hue, hue], at most 0.5
    grayscale: float = 0.0  # probability of conversion to grey
    blur: float = 0.0  # probability of a Gaussian blur
    blur_sigma: tuple[float, float] = (0.1, 2.0)  # standard deviation of the blur in pixels
    solarize: float = 0.0  # probability of inverting the pixels above one half
    noise: float = 0.0  # standard deviation of Gaussian noise, in the range [0, 1] of the pixels
    operations: tuple[Any, ...] = ()  # further operations, of ssl_data.augment.operations, e.g. (VerticalFlip(0.5),)
    mean: tuple[float, ...] = (0.0,)  # mean that is subtracted, one a channel (or one for all)
    std: tuple[float, ...] = (1.0,)  # standard deviation, one a channel (or one for all)

    def __post_init__(self) -> None:
        own = {field.name for field in fields(ViewSpec)}
        for field in fields(self):
            if field.name not in own:
                hint = did_you_mean(field.name, own)
                raise ArgumentError(
                    f"{type(self).__name__}.{field.name}", getattr(self, field.name),
                    f"a field that the engine does not know{hint}; ViewSpec.operations extends it",
                )  # fmt: skip
            value = getattr(self, field.name)
            numbers = value if isinstance(value, tuple) else (value,)
            if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
                raise ArgumentError(field.name, value, "expected finite numbers")
        allowed = {
            **dict.fromkeys(("rotation", "translate", "shear", "noise", *_FACTORS), (0, math.inf, "at least 0")),
            **dict.fromkeys(_PROBABILITIES, (0, 1, "a probability from 0 to 1")),
            "size": (1, math.inf, "at least 1 pixel"),
            "hue": (0, 0.5, "0 to 0.5 of the colour circle"),
        }
        for name, (low, high, expected) in allowed.items():
            self._check(name, low <= getattr(self, name) <= high, expected)
        for name in ("crop_scale", "crop_ratio", "zoom", "blur_sigma"):
            low, high = getattr(self, name)
            self._check(name, 0 < low <= high, "two numbers above 0, the smaller one first")
        self._check("shear", self.shear < 90, "less than 90 degrees")
        fits = not self.resize or (not self.cropped and self.resize >= self.size)
        self._check("resize", fits, f"at least size={self.size}, and no random crop")
        self._check("interpolation", self.interpolation in ("bilinear", "bicubic"), "'bilinear' or 'bicubic'")
        self._check("blur", not self.blur or self.size >= 2, "a view of at least 2 pixels")
        self._check("crop_scale", self.crop_scale[1] <= 1, "shares of the area, at most 1")
        self._check("std", min(self.std) > 0, "numbers above 0")
        if isinstance(self.operations, list):
            object.__setattr__(self, "operations", tuple(self.operations))  # a spec can be hashed
        fits = isinstance(self.operations, tuple) and all(map(_is_operation, self.operations))
        self._check("operations", fits, "a tuple of operations, such as (VerticalFlip(0.5),)")

    def _check(self, name: str, is_allowed: bool, expected: str) -> None:
        if not is_allowed:
            raise ArgumentError(name, getattr(self, name), f"expected {expected}")

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

    @property
    def moves_pixels(self) -> bool:
        """Whether one of the operations moves pixels, so that the view is no box of the image."""
        return any(operation.moves_pixels for operation in self.operations)

    def check_bands(self, channels: int) -> None:
        """Raise an ArgumentError for an operation on colours where the images have neither three bands (RGB) nor one (grey).

        Grey images have no colours: saturation, hue and grayscale leave them as they are, so that the presets apply to them.
        """
        if channels in (1, 3):
            return
        names = [name for name in ("saturation", "hue") if self.jitter and getattr(self, name)]
        names += ["grayscale"] if self.grayscale else []
        if not names:
            return
        also = " and ".join(f"{name}={getattr(self, name)!r}" for name in names[1:])
        also = f" ({also} as well)" if also else ""
        arguments, keys = (", ".join(f"{name}{sign}0" for name in names) for sign in ("=", ": "))
        raise ArgumentError(
            names[0], getattr(self, names[0]),
            f"needs RGB images{also}, and these have {channels} bands; leave it out: replace(spec, {arguments}), in a "
            f"configuration data.views=[{{preset: simclr, {keys}}}]",
        )  # fmt: skip

    def statistics(self, channels: int) -> tuple[list[float], list[float]]:
        """Return the mean and one over the deviation of each of ``channels``; raise for another number of them."""
        for name in ("mean", "std"):
            self._check(
                name, len(getattr(self, name)) in (1, channels), f"one number, or one for each of {channels} channels"
            )
        each = channels if len(self.mean) == 1 else 1, channels if len(self.std) == 1 else 1
        return list(self.mean) * each[0], [1 / deviation for deviation in self.std] * each[1]

    def changed(self, values: dict[str, Any]) -> "ViewSpec":
        """Return this spec with the values of a mapping from YAML; an unknown name is a ValueError with the nearest one."""
        known = {field.name for field in fields(self)}
        for name, value in values.items():
            if name not in known:
                hint = did_you_mean(str(name), known) or f"; expected one of {', '.join(sorted(known))}"
                raise ArgumentError(str(name), value, f"unknown operation{hint}")
            expected = _expected(name)
            if not _is(expected, value):
                raise ArgumentError(name, value, f"expected {expected}")
        numbers: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        if "operations" in values:
            from ssl_data.augment.operations import build_operations  # imports torch

            numbers["operations"] = build_operations(values["operations"])
        return replace(self, **numbers)


def _is_operation(value: Any) -> bool:
    return hasattr(value, "draw") and not isinstance(value, type)


def _expected(name: str) -> str:
    """Return what a field holds, in words."""
    if name == "operations":
        return "a list of operations"
    if name in ("mean", "std"):
        return "a list of numbers"
    kinds = {str: "a word", int: "a whole number", float: "a number", tuple: "a list of two numbers"}
    return kinds[type(getattr(ViewSpec, name))]


def _is(expected: str, value: Any) -> bool:
    """Return whether a value has the type that :func:`_expected` describes."""
    if expected == "a word":
        return isinstance(value, str)
    if expected == "a list of operations":
        return isinstance(value, list | tuple)
    if expected == "a whole number":
        return isinstance(value, int) and not isinstance(value, bool)
    if expected == "a number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    many = isinstance(value, list | tuple) and all(_is("a number", each) for each in value)
    return many and len(value) > 0 and (expected == "a list of numbers" or len(value) == 2)
