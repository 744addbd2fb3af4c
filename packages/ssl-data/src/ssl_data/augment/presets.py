"""Presets of views by the name of the paper that published them.

The numbers are those for photographs of 224 pixels. Views below 64 pixels are made as the papers make those of CIFAR: without
the Gaussian blur (Chen et al. 2020, appendix B.9; Chen & He 2021, appendix D). What else a paper changes there is in its
function below. All crops have a ratio of 3/4 to 4/3, all flips a probability of one half, and where a paper does not name its
interpolation it is that of its published code.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from ssl_data.augment.view_spec import ViewSpec
from ssl_data.errors import ArgumentError
from ssl_data.suggestion import did_you_mean

SMALL = 64  # pixels: views below are made as those of CIFAR
_MULTI_CROP = ("dino", "swav")
LOCAL = 96 / 224  # edge of a local view by that of a global one

_CROP = ViewSpec(crop_scale=(0.08, 1.0), crop_ratio=(3 / 4, 4 / 3), flip=0.5)
_Preset = Callable[[int, int | None], list[ViewSpec]]


def views(
    name: str,
    size: int = 32,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    num_local: int | None = None,
) -> list[ViewSpec]:
    """Return the views of a preset.

    Parameters
    ----------
    name : str
        One of :func:`view_names`; ``ssl_data/augment/presets.py`` describes each with its source.
    size : int
        Side of a view in pixels; that of local views is 96 / 224 of it.
    mean, std : sequence of float
        Mean and standard deviation of the normalisation, one per channel, for pixels in [0, 1].
    num_local : int, optional
        Number of local views of a multi-crop preset; default: the paper's.

    Raises
    ------
    ValueError
        For an unknown name, or local views of a preset that has none.

    Examples
    --------
    >>> [spec.size for spec in views("simclr", size=32)]
    [32, 32]
    >>> [spec.size for spec in views("dino", size=224, num_local=3)]
    [224, 224, 96, 96, 96]
    """
    if not isinstance(name, str) or name not in _PRESETS:
        hint = did_you_mean(str(name), _PRESETS)
        raise ArgumentError("name", name, f"expected one of {', '.join(map(repr, _PRESETS))}{hint}")
    if num_local is not None and name not in _MULTI_CROP:
        presets = " and ".join(map(repr, _MULTI_CROP))
        raise ArgumentError(
            "num_local", num_local, f"only {presets} have local views, {name!r} has none; remove num_local"
        )
    if num_local is not None and (type(num_local) is not int or num_local < 0):
        raise ArgumentError("num_local", num_local, "expected a whole number of local views, at least 0")
    specs = [replace(spec, mean=tuple(mean), std=tuple(std)) for spec in _PRESETS[name](size, num_local)]
    return [replace(spec, blur=0.0) for spec in specs] if size < SMALL else specs


def view_names() -> tuple[str, ...]:
    """Return the names of the presets.

    Examples
    --------
    >>> ", ".join(view_names())
    'barlow_twins, byol, digits, dino, evaluation, mae, moco_v2, moco_v3, simclr, simsiam, supervised, swav, vicreg'
    """
    return tuple(_PRESETS)


def _simclr(size: int, _: int | None) -> list[ViewSpec]:
    """SimCLR (Chen et al. 2020, https://arxiv.org/abs/2002.05709, appendix A): twice the same.

    Crops of 8 to 100 % of the area; colour jitter of strength s with probability 0.8 (0.8 s, 0.8 s, 0.8 s, 0.2 s), s = 1, and
    on CIFAR s = 0.5 (appendix B.9); grey with 0.2; blur with 0.5, sigma 0.1 to 2, a kernel of a tenth of the image.
    """
    spec = replace(_jittered(_CROP, 0.8, 0.8, 0.2, strength=0.5 if size < SMALL else 1.0), size=size, blur=0.5)
    return [spec, spec]


def _byol(size: int, _: int | None) -> list[ViewSpec]:
    """BYOL (Grill et al. 2020, https://arxiv.org/abs/2006.07733, appendix B, table 6): an asymmetric pair.

    Bicubic crops of 8 to 100 %; jitter with 0.8 (0.4, 0.4, 0.2, 0.1); grey with 0.2; blur with 1.0 and 0.1 (at 224 pixels a
    kernel of 23, sigma 0.1 to 2); solarisation with 0 and 0.2.
    """
    base = replace(_jittered(_CROP, 0.4, 0.2, 0.1), size=size, interpolation="bicubic")
    return [replace(base, blur=1.0), replace(base, blur=0.1, solarize=0.2)]


def _moco_v2(size: int, _: int | None) -> list[ViewSpec]:
    """MoCo v2 (Chen et al. 2020, https://arxiv.org/abs/2003.04297, section 3, and its code): twice the same.

    Crops of 20 to 100 %; jitter with 0.8 (0.4, 0.4, 0.4, 0.1); grey with 0.2; blur with 0.5, sigma 0.1 to 2.
    """
    spec = replace(_jittered(_CROP, 0.4, 0.4, 0.1), size=size, crop_scale=(0.2, 1.0), blur=0.5)
    return [spec, spec]


def _moco_v3(size: int, _: int | None) -> list[ViewSpec]:
    """MoCo v3 (Chen, Xie & He 2021, https://arxiv.org/abs/2104.02057, section 4, and its code): BYOL's pair, bilinear.

    Crops of 8 to 100 %, as for its vision transformers (its ResNet-50 takes 20 to 100 %).
    """
    return [replace(spec, interpolation="bilinear") for spec in _byol(size, None)]


def _dino(size: int, num_local: int | None) -> list[ViewSpec]:
    """DINO (Caron et al. 2021, https://arxiv.org/abs/2104.14294, and the defaults of its code): 2 global views, 8 local.

    BYOL's colours. Global: bicubic crops of 40 to 100 %, blur with 1.0 and 0.1, the second solarised with 0.2. Local: crops of
    5 to 40 % to 96 pixels for 224, blur with 0.5.
    """
    large = [replace(spec, crop_scale=(0.4, 1.0)) for spec in _byol(size, None)]
    small = replace(large[0], size=_local(size), crop_scale=(0.05, 0.4), blur=0.5)
    return large + [small] * (8 if num_local is None else num_local)


def _swav(size: int, num_local: int | None) -> list[ViewSpec]:
    """SwAV (Caron et al. 2020, https://arxiv.org/abs/2006.09882, appendix A, and its code): 2 global views, 6 local.

    SimCLR's colours. Global: crops of 14 to 100 %. Local: of 5 to 14 % to 96 pixels for 224.
    """
    large = [replace(spec, crop_scale=(0.14, 1.0)) for spec in _simclr(size, None)]
    small = replace(large[0], size=_local(size), crop_scale=(0.05, 0.14))
    return large + [small] * (6 if num_local is None else num_local)


def _mae(size: int, _: int | None) -> list[ViewSpec]:
    """MAE (He et al. 2022, https://arxiv.org/abs/2111.06377, appendix A.1): one view, bicubic crops of 20 to 100 %, flip."""
    return [replace(_CROP, size=size, crop_scale=(0.2, 1.0), interpolation="bicubic")]


def _supervised(size: int, _: int | None) -> list[ViewSpec]:
    """One view (Szegedy et al. 2015, https://arxiv.org/abs/1409.4842): crops of 8 to 100 %, below 64 pixels of 25 to 100 %."""
    return [replace(_CROP, size=size, crop_scale=(0.25, 1.0) if size < SMALL else (0.08, 1.0))]


def _evaluation(size: int, _: int | None) -> list[ViewSpec]:
    """Nothing random: the shorter side resized to 256 for 224 pixels (below 64 to the view's), and the centre cut out."""
    return [ViewSpec(size=size, resize=size if size < SMALL else round(size * 256 / 224))]


def _digits(size: int, _: int | None) -> list[ViewSpec]:
    """Handwriting: rotation, shift, shear, zoom, brightness and noise, no flip (chosen by measurement, see the README)."""
    spec = ViewSpec(
        size=size, rotation=20.0, translate=0.12, zoom=(0.75, 1.25), shear=15.0, jitter=1.0, brightness=0.4, noise=0.05
    )
    return [spec, spec]


def _jittered(spec: ViewSpec, light: float, saturation: float, hue: float, strength: float = 1.0) -> ViewSpec:
    """Return a spec with colour jitter (``light``: brightness and contrast) with probability 0.8, and grey with 0.2."""
    light, saturation, hue = strength * light, strength * saturation, strength * hue
    return replace(spec, jitter=0.8, brightness=light, contrast=light, saturation=saturation, hue=hue, grayscale=0.2)


def _local(size: int) -> int:
    return round(size * LOCAL)


_PRESETS: dict[str, _Preset] = {
    "barlow_twins": _byol,  # Zbontar et al. 2021, https://arxiv.org/abs/2103.03230, section 3.1: BYOL's pair
    "byol": _byol,
    "digits": _digits,
    "dino": _dino,
    "evaluation": _evaluation,
    "mae": _mae,
    "moco_v2": _moco_v2,
    "moco_v3": _moco_v3,
    "simclr": _simclr,
    "simsiam": _moco_v2,  # Chen & He 2021, https://arxiv.org/abs/2011.10566, section 3: MoCo v2's
    "supervised": _supervised,
    "swav": _swav,
    # Bardes et al. 2022, https://arxiv.org/abs/2105.04906: its code has BYOL's pair; its appendix describes one view with about
    # the mean probabilities of the two (blur 0.5, solarisation 0.1)
    "vicreg": _byol,
}
