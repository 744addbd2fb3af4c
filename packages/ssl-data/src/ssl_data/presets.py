"""Views by the names of the papers that published them."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import replace

from ssl_data.view_spec import ViewSpec

_RATIO = (3 / 4, 4 / 3)


def views(name: str, size: int = 32, mean: Sequence[float] = (0.0,), std: Sequence[float] = (1.0,)) -> list[ViewSpec]:
    """Return the views of a preset.

    Parameters
    ----------
    name : str
        One of :func:`view_names`.
    size : int
        Pixels of a view. Gaussian blur is left out below 64, as the papers do on CIFAR.
    mean, std : sequence of float
        Of the normalisation, one a channel.

    Raises
    ------
    ValueError
        For an unknown name.

    Examples
    --------
    >>> [spec.size for spec in views("simclr", size=32)]
    [32, 32]
    """
    if name not in _PRESETS:
        near = difflib.get_close_matches(name, _PRESETS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"data.views={name!r}: expected one of {', '.join(map(repr, _PRESETS))}{hint}")
    small = size < 64
    specs = [replace(spec, size=size, mean=tuple(mean), std=tuple(std)) for spec in _PRESETS[name]()]
    return [replace(spec, blur=0.0) for spec in specs] if small else specs


def view_names() -> tuple[str, ...]:
    """Return the names of the presets."""
    return tuple(_PRESETS)


def _simclr() -> list[ViewSpec]:
    """Chen et al. 2020, appendix A, with the colour strength 0.5 that its appendix B.9 takes for CIFAR-10."""
    spec = ViewSpec(
        crop_scale=(0.2, 1.0), crop_ratio=_RATIO, flip=0.5, jitter=0.8, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1,
        grayscale=0.2, blur=0.5,
    )  # fmt: skip
    return [spec, spec]


def _byol() -> list[ViewSpec]:
    """Grill et al. 2020, table 6: an asymmetric pair, the second view solarised now and then."""
    first = ViewSpec(
        crop_scale=(0.08, 1.0), crop_ratio=_RATIO, flip=0.5, jitter=0.8, brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1,
        grayscale=0.2, blur=1.0,
    )  # fmt: skip
    return [first, replace(first, blur=0.1, solarize=0.2)]


def _vicreg() -> list[ViewSpec]:
    """Bardes et al. 2022, appendix C: a symmetric pair, crops of the whole area range, solarisation in both."""
    spec = replace(_byol()[0], blur=0.5, solarize=0.1)
    return [spec, spec]


def _supervised() -> list[ViewSpec]:
    """A random resized crop and a flip (He et al. 2016)."""
    return [ViewSpec(crop_scale=(0.25, 1.0), crop_ratio=_RATIO, flip=0.5)]


def _digits() -> list[ViewSpec]:
    """Handwriting: a digit may be turned, shifted, slanted and scaled, and never mirrored (measured, see the README)."""
    spec = ViewSpec(
        rotation=20.0, translate=0.12, zoom=(0.75, 1.25), shear=15.0, jitter=1.0, brightness=0.4, noise=0.05
    )  # fmt: skip
    return [spec, spec]


_PRESETS: dict[str, Callable[[], list[ViewSpec]]] = {
    "barlow_twins": _byol,  # Zbontar et al. 2021, section 3: BYOL's
    "byol": _byol,
    "digits": _digits,
    "evaluation": lambda: [ViewSpec()],
    "simclr": _simclr,
    "supervised": _supervised,
    "vicreg": _vicreg,
}
